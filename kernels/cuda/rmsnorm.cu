// RMSNorm on a device. Sums over a row are in f64.

#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/rmsnorm.cuh"

namespace timepipe::cuda {

template <int kRow, class A>
__global__ void rmsnorm_forward_kernel(int64_t N, int64_t C,
                                       const Computed<A>* x,
                                       const Computed<A>* w, double eps, A* y,
                                       Computed<A>* rstd) {
  using T = Computed<A>;
  const int64_t n = row_of_thread<kRow>();
  const int first = place_in_row<kRow>();
  if (n >= N) return;
  const T* __restrict__ row = x + n * C;
  double squares = 0;
  for (int64_t c = first; c < C; c += kRow) {
    squares += static_cast<double>(row[c]) * static_cast<double>(row[c]);
  }
  squares = row_sum<kRow>(squares);
  const T r = static_cast<T>(1 / sqrt(squares / static_cast<double>(C) + eps));
  A* __restrict__ out = y + n * C;
  for (int64_t c = first; c < C; c += kRow) {
    out[c] = stored<A>(w[c] * row[c] * r);
  }
  if (first == 0) rstd[n] = r;
}

// With a = w dy and h = x rstd: dx = rstd (a - h mean(a h)).
template <int kRow, class T>
__global__ void rmsnorm_backward_x_kernel(int64_t N, int64_t C, const T* dy,
                                          const T* x, const T* w, const T* rstd,
                                          T* dx, bool adds) {
  const int64_t n = row_of_thread<kRow>();
  const int first = place_in_row<kRow>();
  if (n >= N) return;
  const T* __restrict__ g = dy + n * C;
  const T* __restrict__ row = x + n * C;
  const T r = rstd[n];
  double dot = 0;
  for (int64_t c = first; c < C; c += kRow) {
    dot += static_cast<double>(w[c] * g[c]) * static_cast<double>(row[c]);
  }
  dot = row_sum<kRow>(dot);
  const T mean = static_cast<T>(dot * r / static_cast<double>(C));
  T* __restrict__ out = dx + n * C;
  for (int64_t c = first; c < C; c += kRow) {
    put(out[c], r * (w[c] * g[c] - row[c] * r * mean), adds);
  }
}

template <class T>
__global__ void rmsnorm_backward_w_kernel(int64_t N, int64_t C, const T* dy,
                                          const T* x, const T* rstd,
                                          double* partials) {
  column_partials(
      N, C,
      [=](int64_t n, int64_t c) {
        return dy[n * C + c] * x[n * C + c] * rstd[n];
      },
      partials);
}

#define TIMEPIPE_INSTANTIATE(kRow, A)                                       \
  template __global__ void rmsnorm_forward_kernel<kRow, A>(                 \
      int64_t, int64_t, const Computed<A>*, const Computed<A>*, double, A*, \
      Computed<A>*)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(32, bf16);
TIMEPIPE_INSTANTIATE(256, float);
TIMEPIPE_INSTANTIATE(256, double);
TIMEPIPE_INSTANTIATE(256, bf16);
#undef TIMEPIPE_INSTANTIATE

#define TIMEPIPE_INSTANTIATE(kRow, T)                          \
  template __global__ void rmsnorm_backward_x_kernel<kRow, T>( \
      int64_t, int64_t, const T*, const T*, const T*, const T*, T*, bool)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(256, float);
TIMEPIPE_INSTANTIATE(256, double);
#undef TIMEPIPE_INSTANTIATE

template __global__ void rmsnorm_backward_w_kernel<float>(
    int64_t, int64_t, const float*, const float*, const float*, double*);
template __global__ void rmsnorm_backward_w_kernel<double>(
    int64_t, int64_t, const double*, const double*, const double*, double*);

}  // namespace timepipe::cuda
