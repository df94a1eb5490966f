// The inner learner's rates on a device. Sums over columns and tokens are in
// f64, those over heads in T.

#include "kernels/cuda/elementary.cuh"
#include "kernels/cuda/inner_rate.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {

template <class A>
__global__ void inner_rate_forward_kernel(int64_t rows, int64_t H, int64_t C,
                                          const A* u, const Computed<A>* w,
                                          const Computed<A>* bias, double scale,
                                          Computed<A>* gate, Computed<A>* lr) {
  using T = Computed<A>;
  const int64_t i = row_of_thread<kWarp>();
  const int first = place_in_row<kWarp>();
  if (i >= rows * H) return;
  const int64_t t = i / H, h = i % H;
  double dot = 0;
  for (int64_t c = first; c < C; c += kWarp) {
    dot += static_cast<double>(widen(u[t * C + c])) *
           static_cast<double>(w[h * C + c]);
  }
  dot = warp_sum(dot);
  if (first != 0) return;
  const double g = sigmoid(dot + static_cast<double>(bias[h]));
  gate[i] = static_cast<T>(g);
  lr[i] = static_cast<T>(scale * g);
}

template <class T>
__global__ void inner_rate_gate_kernel(int64_t n, const T* dlr, const T* gate,
                                       double scale, double* ds) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const double g = static_cast<double>(gate[i]);
    ds[i] = static_cast<double>(dlr[i]) * scale * g * (1 - g);
  }
}

template <class T>
__global__ void inner_rate_backward_u_kernel(int64_t rows, int64_t H, int64_t C,
                                             const double* ds, const T* w,
                                             T* du) {
  const int64_t t = row_of_thread<kWarp>();
  if (t >= rows) return;
  for (int64_t c = place_in_row<kWarp>(); c < C; c += kWarp) {
    T sum = du[t * C + c];
    for (int64_t h = 0; h < H; ++h) {
      sum += static_cast<T>(ds[t * H + h]) * w[h * C + c];
    }
    du[t * C + c] = sum;
  }
}

template <class A>
__global__ void inner_rate_backward_w_kernel(int64_t rows, int64_t length,
                                             int64_t H, int64_t C,
                                             const double* ds, const A* u,
                                             double* partials) {
  const int64_t tiles = (C + kWarp - 1) / kWarp;
  const int64_t head_tiles = (H + kRateHeads - 1) / kRateHeads;
  const int64_t warp = row_of_thread<kWarp>();
  const int64_t c = warp % tiles * kWarp + place_in_row<kWarp>();
  const int64_t h = warp / tiles % head_tiles * kRateHeads;
  const int64_t g = warp / tiles / head_tiles;
  const int64_t begin = g * length;
  const int64_t end = begin + length < rows ? begin + length : rows;
  if (begin >= rows || c >= C) return;
  double sums[kRateHeads] = {};
  for (int64_t t = begin; t < end; ++t) {
    const double x = static_cast<double>(widen(u[t * C + c]));
    TIMEPIPE_UNROLL
    for (int k = 0; k < kRateHeads; ++k) {
      if (h + k < H) sums[k] += ds[t * H + h + k] * x;
    }
  }
  TIMEPIPE_UNROLL
  for (int k = 0; k < kRateHeads; ++k) {
    if (h + k < H) partials[(g * H + h + k) * C + c] = sums[k];
  }
}

__device__ double place_scale(int64_t i, double learnable) {
  return 1 / static_cast<double>(i + 1) + learnable;
}

template <class T>
__global__ void token_scale_forward_kernel(int64_t n, const T* learnable,
                                           T* tok) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const double scale = place_scale(i, static_cast<double>(learnable[i]));
    tok[i] = static_cast<T>(scale < 0 ? 0 : scale);
  }
}

template <class T>
__global__ void token_scale_backward_kernel(int64_t n, const T* dtok,
                                            const T* learnable, T* dlearnable) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const double scale = place_scale(i, static_cast<double>(learnable[i]));
    dlearnable[i] = scale >= 0 ? dtok[i] : T(0);
  }
}

#define TIMEPIPE_INSTANTIATE(A)                                \
  template __global__ void inner_rate_forward_kernel<A>(       \
      int64_t, int64_t, int64_t, const A*, const Computed<A>*, \
      const Computed<A>*, double, Computed<A>*, Computed<A>*); \
  template __global__ void inner_rate_backward_w_kernel<A>(    \
      int64_t, int64_t, int64_t, int64_t, const double*, const A*, double*)
TIMEPIPE_INSTANTIATE(float);
TIMEPIPE_INSTANTIATE(double);
TIMEPIPE_INSTANTIATE(bf16);
#undef TIMEPIPE_INSTANTIATE

#define TIMEPIPE_INSTANTIATE(T)                                              \
  template __global__ void inner_rate_gate_kernel<T>(                        \
      int64_t, const T*, const T*, double, double*);                         \
  template __global__ void inner_rate_backward_u_kernel<T>(                  \
      int64_t, int64_t, int64_t, const double*, const T*, T*);               \
  template __global__ void token_scale_forward_kernel<T>(int64_t, const T*,  \
                                                         T*);                \
  template __global__ void token_scale_backward_kernel<T>(int64_t, const T*, \
                                                          const T*, T*)
TIMEPIPE_INSTANTIATE(float);
TIMEPIPE_INSTANTIATE(double);
#undef TIMEPIPE_INSTANTIATE

}  // namespace timepipe::cuda
