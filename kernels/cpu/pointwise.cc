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

void round(Context&, const Tensor& x, Tensor& y) {
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    const auto* in = elements<Wide<A>>(x);
    A* out = elements<A>(y);
    for_elements(x.numel(), [=](int64_t i) { out[i] = static_cast<A>(in[i]); });
  });
}

Tensor widened(Context& ctx, const Tensor& x) {
  if (x.dtype() != DType::kBF16) return x;
  Tensor y = ctx.allocate(x.shape(), DType::kF32);
  const bf16* in = elements<bf16>(x);
  float* out = elements<float>(y);
  for_elements(x.numel(), [=](int64_t i) { out[i] = in[i]; });
  return y;
}

void swiglu_forward(Context&, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_stored(a.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const A *gate = elements<A>(a), *value = elements<A>(b);
    A* out = elements<A>(y);
    for_elements(a.numel(), [=](int64_t i) {
      const T x = gate[i];
      out[i] = static_cast<A>(x * sigmoid(x) * value[i]);
    });
  });
}

void swiglu_backward(Context&, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db) {
  dispatch_stored(a.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const A *gate = elements<A>(a), *value = elements<A>(b);
    const A* g = elements<A>(dy);
    A *dgate = elements<A>(da), *dvalue = elements<A>(db);
    for_elements(a.numel(), [=](int64_t i) {
      const T x = gate[i], s = sigmoid(x), up = g[i];
      dgate[i] = static_cast<A>(up * value[i] * s * (1 + x * (1 - s)));
      dvalue[i] = static_cast<A>(up * x * s);
    });
  });
}

void gelu_gate_forward(Context&, const Tensor& x, const Tensor& g, Tensor& y) {
  dispatch_stored(g.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const T* in = elements<T>(x);
    const A* gate = elements<A>(g);
    A* out = elements<A>(y);
    for_elements(x.numel(), [=](int64_t i) {
      const T v = gate[i];
      out[i] = static_cast<A>(in[i] * (v * gelu_factor(v)));
    });
  });
}

void gelu_gate_backward(Context&, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg) {
  dispatch_stored(g.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const T* in = elements<T>(x);
    const A *gate = elements<A>(g), *up = elements<A>(dy);
    T* din = elements<T>(dx);
    A* dgate = elements<A>(dg);
    for_elements(x.numel(), [=](int64_t i) {
      const T v = gate[i], s = gelu_factor(v), d = up[i];
      dgate[i] = static_cast<A>(d * in[i] * gelu_derivative(v, s));
      din[i] = d * (v * s);
    });
  });
}

}  // namespace timepipe::cpu
