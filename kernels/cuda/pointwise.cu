// Sums and gates of single elements on a device.

#include "kernels/cuda/elementary.cuh"
#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/pack.cuh"
#include "kernels/cuda/pointwise.cuh"

namespace timepipe::cuda {

template <int kWidth, class T>
__global__ void add_kernel(int64_t n, const T* x, T* y) {
  for_packs<kWidth>(n, [=](int64_t i) {
    const auto more = load<kWidth>(x + i);
    auto sum = load<kWidth>(y + i);
    TIMEPIPE_UNROLL
    for (int k = 0; k < kWidth; ++k) sum.at[k] += more.at[k];
    save<kWidth>(y + i, sum);
  });
}

template <int kWidth, class A>
__global__ void round_kernel(int64_t n, const Computed<A>* x, A* y) {
  for_packs<kWidth>(
      n, [=](int64_t i) { save<kWidth>(y + i, load<kWidth>(x + i)); });
}

template <int kWidth, class A>
__global__ void swiglu_forward_kernel(int64_t n, const A* a, const A* b, A* y) {
  using T = Computed<A>;
  for_packs<kWidth>(n, [=](int64_t i) {
    const auto gate = load<kWidth>(a + i), value = load<kWidth>(b + i);
    Pack<kWidth, T> out;
    TIMEPIPE_UNROLL
    for (int k = 0; k < kWidth; ++k) {
      const T v = gate.at[k];
      out.at[k] = v * sigmoid(v) * value.at[k];
    }
    save<kWidth>(y + i, out);
  });
}

template <int kWidth, class A>
__global__ void swiglu_backward_kernel(int64_t n, const A* dy, const A* a,
                                       const A* b, A* da, A* db) {
  using T = Computed<A>;
  for_packs<kWidth>(n, [=](int64_t i) {
    const auto gate = load<kWidth>(a + i), value = load<kWidth>(b + i);
    const auto up = load<kWidth>(dy + i);
    Pack<kWidth, T> dgate, dvalue;
    TIMEPIPE_UNROLL
    for (int k = 0; k < kWidth; ++k) {
      const T v = gate.at[k], s = sigmoid(v), d = up.at[k];
      dgate.at[k] = d * value.at[k] * s * (1 + v * (1 - s));
      dvalue.at[k] = d * v * s;
    }
    save<kWidth>(da + i, dgate);
    save<kWidth>(db + i, dvalue);
  });
}

template <int kWidth, class A>
__global__ void gelu_gate_forward_kernel(int64_t n, const Computed<A>* x,
                                         const A* g, A* y) {
  using T = Computed<A>;
  for_packs<kWidth>(n, [=](int64_t i) {
    const auto in = load<kWidth>(x + i), gate = load<kWidth>(g + i);
    Pack<kWidth, T> out;
    TIMEPIPE_UNROLL
    for (int k = 0; k < kWidth; ++k) {
      const T v = gate.at[k];
      out.at[k] = in.at[k] * (v * gelu_factor(v));
    }
    save<kWidth>(y + i, out);
  });
}

template <int kWidth, class A>
__global__ void gelu_gate_backward_kernel(int64_t n, const A* dy,
                                          const Computed<A>* x, const A* g,
                                          Computed<A>* dx, A* dg) {
  using T = Computed<A>;
  for_packs<kWidth>(n, [=](int64_t i) {
    const auto in = load<kWidth>(x + i), gate = load<kWidth>(g + i);
    const auto up = load<kWidth>(dy + i);
    Pack<kWidth, T> din, dgate;
    TIMEPIPE_UNROLL
    for (int k = 0; k < kWidth; ++k) {
      const T v = gate.at[k], s = gelu_factor(v), d = up.at[k];
      dgate.at[k] = d * in.at[k] * gelu_derivative(v, s);
      din.at[k] = d * (v * s);
    }
    save<kWidth>(dx + i, din);
    save<kWidth>(dg + i, dgate);
  });
}

#define TIMEPIPE_INSTANTIATE(kWidth, T) \
  template __global__ void add_kernel<kWidth, T>(int64_t, const T*, T*)
TIMEPIPE_INSTANTIATE(4, float);
TIMEPIPE_INSTANTIATE(4, double);
TIMEPIPE_INSTANTIATE(1, float);
TIMEPIPE_INSTANTIATE(1, double);
#undef TIMEPIPE_INSTANTIATE

#define TIMEPIPE_INSTANTIATE(kWidth, A)                                        \
  template __global__ void round_kernel<kWidth, A>(int64_t,                    \
                                                   const Computed<A>*, A*);    \
  template __global__ void swiglu_forward_kernel<kWidth, A>(int64_t, const A*, \
                                                            const A*, A*);     \
  template __global__ void swiglu_backward_kernel<kWidth, A>(                  \
      int64_t, const A*, const A*, const A*, A*, A*);                          \
  template __global__ void gelu_gate_forward_kernel<kWidth, A>(                \
      int64_t, const Computed<A>*, const A*, A*);                              \
  template __global__ void gelu_gate_backward_kernel<kWidth, A>(               \
      int64_t, const A*, const Computed<A>*, const A*, Computed<A>*, A*)
TIMEPIPE_INSTANTIATE(4, float);
TIMEPIPE_INSTANTIATE(4, double);
TIMEPIPE_INSTANTIATE(4, bf16);
TIMEPIPE_INSTANTIATE(1, float);
TIMEPIPE_INSTANTIATE(1, double);
TIMEPIPE_INSTANTIATE(1, bf16);
#undef TIMEPIPE_INSTANTIATE

}  // namespace timepipe::cuda
