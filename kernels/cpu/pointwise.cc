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

void add(const Tensor& x, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = x.template data<T>();
    T* out = y.template data<T>();
    for_elements(x.numel(), [=](int64_t i) { out[i] += in[i]; });
  });
}

void swiglu_forward(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *gate = a.template data<T>(), *value = b.template data<T>();
    T* out = y.template data<T>();
    for_elements(a.numel(), [=](int64_t i) {
      out[i] = gate[i] * sigmoid(gate[i]) * value[i];
    });
  });
}

void swiglu_backward(const Tensor& dy, const Tensor& a, const Tensor& b,
                     Tensor& da, Tensor& db) {
  dispatch(a.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *gate = a.template data<T>(), *value = b.template data<T>();
    const T* g = dy.template data<T>();
    T *dgate = da.template data<T>(), *dvalue = db.template data<T>();
    for_elements(a.numel(), [=](int64_t i) {
      const T s = sigmoid(gate[i]), x = gate[i], up = g[i];
      dgate[i] = up * value[i] * s * (1 + x * (1 - s));
      dvalue[i] = up * x * s;
    });
  });
}

void gelu_gate_forward(const Tensor& x, const Tensor& g, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *in = x.template data<T>(), *gate = g.template data<T>();
    T* out = y.template data<T>();
    for_elements(x.numel(), [=](int64_t i) {
      out[i] = in[i] * (gate[i] * gelu_factor(gate[i]));
    });
  });
}

void gelu_gate_backward(const Tensor& dy, const Tensor& x, const Tensor& g,
                        Tensor& dx, Tensor& dg) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *in = x.template data<T>(), *gate = g.template data<T>();
    const T* up = dy.template data<T>();
    T *din = dx.template data<T>(), *dgate = dg.template data<T>();
    for_elements(x.numel(), [=](int64_t i) {
      const T v = gate[i], s = gelu_factor(v), d = up[i];
      dgate[i] = d * in[i] * gelu_derivative(v, s);
      din[i] = d * (v * s);
    });
  });
}

}  // namespace timepipe::cpu
