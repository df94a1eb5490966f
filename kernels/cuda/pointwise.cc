// Launches the sums and gates of single elements.

#include "kernels/pointwise.h"

#include "kernels/cuda/pack_launch.h"
#include "kernels/cuda/pointwise.cuh"

namespace timepipe::cuda {

void add(Context& ctx, const Tensor& x, Tensor& y) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_packs<&add_kernel<kPack, T>, &add_kernel<1, T>>(
        ctx, x.numel(), device_elements<T>(x), device_elements<T>(y));
  });
}

void round(Context& ctx, const Tensor& x, Tensor& y) {
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    launch_packs<&round_kernel<kPack, A>, &round_kernel<1, A>>(
        ctx, x.numel(), device_elements<Wide<A>>(x), device_elements<A>(y));
  });
}

void swiglu_forward(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_stored(a.dtype(), [&](auto zero) {
    using A = decltype(zero);
    launch_packs<&swiglu_forward_kernel<kPack, A>,
                 &swiglu_forward_kernel<1, A>>(
        ctx, a.numel(), device_elements<A>(a), device_elements<A>(b),
        device_elements<A>(y));
  });
}

void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db) {
  dispatch_stored(a.dtype(), [&](auto zero) {
    using A = decltype(zero);
    launch_packs<&swiglu_backward_kernel<kPack, A>,
                 &swiglu_backward_kernel<1, A>>(
        ctx, a.numel(), device_elements<A>(dy), device_elements<A>(a),
        device_elements<A>(b), device_elements<A>(da), device_elements<A>(db));
  });
}

void gelu_gate_forward(Context& ctx, const Tensor& x, const Tensor& g,
                       Tensor& y) {
  dispatch_stored(g.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    launch_packs<&gelu_gate_forward_kernel<kPack, A>,
                 &gelu_gate_forward_kernel<1, A>>(
        ctx, x.numel(), device_elements<T>(x), device_elements<A>(g),
        device_elements<A>(y));
  });
}

void gelu_gate_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg) {
  dispatch_stored(g.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    launch_packs<&gelu_gate_backward_kernel<kPack, A>,
                 &gelu_gate_backward_kernel<1, A>>(
        ctx, x.numel(), device_elements<A>(dy), device_elements<T>(x),
        device_elements<A>(g), device_elements<T>(dx), device_elements<A>(dg));
  });
}

}  // namespace timepipe::cuda
