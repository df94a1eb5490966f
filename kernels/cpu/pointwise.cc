// Sums and gates of single elements on host memory.

#include "kernels/pointwise.h"

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/gelu.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

template <class F>
void for_elements(int64_t n, F&& f) {
  constexpr int64_t kPiece = 4096;
  parallel_pieces(n, kPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

}  // namespace

void add(Context&, const Tensor& x, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = elements<T>(x);
    T* out = elements<T>(y);
    for_elements(x.numel(), [=](int64_t i) { out[i] += in[i]; });
  });
}

void swiglu_forward(Context&, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *gate = elements<T>(a), *value = elements<T>(b);
    T* out = elements<T>(y);
    for_elements(a.numel(), [=](int64_t i) {
      out[i] = gate[i] * sigmoid(gate[i]) * value[i];
    });
  });
}

void swiglu_backward(Context&, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db) {
  dispatch(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *gate = elements<T>(a), *value = elements<T>(b);
    const T* g = elements<T>(dy);
    T *dgate = elements<T>(da), *dvalue = elements<T>(db);
    for_elements(a.numel(), [=](int64_t i) {
      const T s = sigmoid(gate[i]), x = gate[i], up = g[i];
      dgate[i] = up * value[i] * s * (1 + x * (1 - s));
      dvalue[i] = up * x * s;
    });
  });
}

void gelu_gate_forward(Context&, const Tensor& x, const Tensor& g, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *in = elements<T>(x), *gate = elements<T>(g);
    T* out = elements<T>(y);
    for_elements(x.numel(), [=](int64_t i) {
      out[i] = in[i] * (gate[i] * gelu_factor(gate[i]));
    });
  });
}

void gelu_gate_backward(Context&, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *in = elements<T>(x), *gate = elements<T>(g);
    const T* up = elements<T>(dy);
    T *din = elements<T>(dx), *dgate = elements<T>(dg);
    for_elements(x.numel(), [=](int64_t i) {
      const T v = gate[i], s = gelu_factor(v), d = up[i];
      dgate[i] = d * in[i] * gelu_derivative(v, s);
      din[i] = d * (v * s);
    });
  });
}

}  // namespace timepipe::cpu
