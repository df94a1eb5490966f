// LayerNorm on a device. Sums over a row are in f64.

#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/layernorm.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {

template <int kRow, class A>
__global__ void layernorm_forward_kernel(int64_t N, int64_t C,
                                         const Computed<A>* x,
                                         const Computed<A>* w,
                                         const Computed<A>* b, double eps, A* y,
                                         Computed<A>* mean, Computed<A>* rstd) {
  using T = Computed<A>;
  const int64_t n = row_of_thread<kRow>();
  const int first = place_in_row<kRow>();
  if (n >= N) return;
  const double width = static_cast<double>(C);
  const T* __restrict__ row = x + n * C;
  double sum = 0;
  for (int64_t c = first; c < C; c += kRow) sum += static_cast<double>(row[c]);
  const double mu = row_sum<kRow>(sum) / width;
  double squares = 0;
  for (int64_t c = first; c < C; c += kRow) {
    const double d = static_cast<double>(row[c]) - mu;
    squares += d * d;
  }
  squares = row_sum<kRow>(squares);
  const T m = static_cast<T>(mu);
  const T r = static_cast<T>(1 / sqrt(squares / width + eps));
  A* __restrict__ out = y + n * C;
  for (int64_t c = first; c < C; c += kRow) {
    out[c] = stored<A>(w[c] * ((row[c] - m) * r) + b[c]);
  }
  if (first == 0) {
    mean[n] = m;
    rstd[n] = r;
  }
}

// With a = w dy and h = (x - mean) rstd: dx = rstd (a - mean(a) - h mean(a h)).
template <int kRow, class T>
__global__ void layernorm_backward_x_kernel(int64_t N, int64_t C, const T* dy,
                                            const T* x, const T* w,
                                            const T* mean, const T* rstd,
                                            T* dx) {
  const int64_t n = row_of_thread<kRow>();
  const int first = place_in_row<kRow>();
  if (n >= N) return;
  const double width = static_cast<double>(C);
  const T* __restrict__ g = dy + n * C;
  const T* __restrict__ row = x + n * C;
  const T m = mean[n], r = rstd[n];
  double sum = 0, dot = 0;
  for (int64_t c = first; c < C; c += kRow) {
    const double a = static_cast<double>(w[c] * g[c]);
    sum += a;
    dot += a * static_cast<double>((row[c] - m) * r);
  }
  const T shift = static_cast<T>(row_sum<kRow>(sum) / width);
  const T slope = static_cast<T>(row_sum<kRow>(dot) / width);
  T* __restrict__ out = dx + n * C;
  for (int64_t c = first; c < C; c += kRow) {
    out[c] = r * (w[c] * g[c] - shift - (row[c] - m) * r * slope);
  }
}

template <class T>
__global__ void layernorm_backward_w_kernel(int64_t N, int64_t C, const T* dy,
                                            const T* x, const T* mean,
                                            const T* rstd, double* partials) {
  column_partials(
      N, C,
      [=](int64_t n, int64_t c) {
        return dy[n * C + c] * ((x[n * C + c] - mean[n]) * rstd[n]);
      },
      partials);
}

#define TIMEPIPE_INSTANTIATE(kRow, A)                           \
  template __global__ void layernorm_forward_kernel<kRow, A>(   \
      int64_t, int64_t, const Computed<A>*, const Computed<A>*, \
      const Computed<A>*, double, A*, Computed<A>*, Computed<A>*)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(32, bf16);
TIMEPIPE_INSTANTIATE(256, float);
TIMEPIPE_INSTANTIATE(256, double);
TIMEPIPE_INSTANTIATE(256, bf16);
#undef TIMEPIPE_INSTANTIATE

#define TIMEPIPE_INSTANTIATE(kRow, T)                            \
  template __global__ void layernorm_backward_x_kernel<kRow, T>( \
      int64_t, int64_t, const T*, const T*, const T*, const T*, const T*, T*)
TIMEPIPE_INSTANTIATE(32, float);
TIMEPIPE_INSTANTIATE(32, double);
TIMEPIPE_INSTANTIATE(256, float);
TIMEPIPE_INSTANTIATE(256, double);
#undef TIMEPIPE_INSTANTIATE

template __global__ void layernorm_backward_w_kernel<float>(
    int64_t, int64_t, const float*, const float*, const float*, const float*,
    double*);
template __global__ void layernorm_backward_w_kernel<double>(
    int64_t, int64_t, const double*, const double*, const double*,
    const double*, double*);

}  // namespace timepipe::cuda
