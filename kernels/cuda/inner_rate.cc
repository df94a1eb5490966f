// Launches the inner learner's rates.

#include "kernels/inner_rate.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/inner_rate.cuh"
#include "kernels/cuda/row_launch.h"

namespace timepipe::cuda {
namespace {

// dw = ds^T u in f64, which a product of f32 wouldn't do: partial sums over at
// most kMostPieces pieces of the rows, whatever their number, so that the
// partial sums, each as large as dw, stay few.
template <class A>
void backward_w(Context& ctx, const Tensor& ds, const Tensor& u, Tensor& dw) {
  constexpr int64_t kMostPieces = 32;
  const int64_t rows = u.dim(0), C = u.dim(1), H = ds.dim(1);
  const int64_t length =
      std::max(kPartialRows, (rows + kMostPieces - 1) / kMostPieces);
  const int64_t pieces = (rows + length - 1) / length;
  const int64_t warps = pieces * ((H + kRateHeads - 1) / kRateHeads) *
                        ((C + kWarpRow - 1) / kWarpRow);
  Tensor partials = ctx.allocate({pieces, H * C}, DType::kF64);
  launch<&inner_rate_backward_w_kernel<A>>(
      ctx, (warps * kWarpRow + kThreads - 1) / kThreads, kThreads, rows, length,
      H, C, device_elements<double>(ds), device_elements<A>(u),
      device_elements<double>(partials));
  add_partials(ctx, std::as_const(partials), device_elements<Wide<A>>(dw),
               Write::kOverwrite);
}

}  // namespace

void inner_rate_forward(Context& ctx, const Tensor& u, const Tensor& w,
                        const Tensor& bias, double scale, Tensor& gate,
                        Tensor& lr) {
  const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
  dispatch_stored(u.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    launch<&inner_rate_forward_kernel<A>>(
        ctx, (rows * H * kWarpRow + kThreads - 1) / kThreads, kThreads, rows, H,
        C, device_elements<A>(u), device_elements<T>(w),
        device_elements<T>(bias), scale, device_elements<T>(gate),
        device_elements<T>(lr));
  });
}

void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias) {
  const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
  Tensor gradient = ctx.allocate({rows, H}, DType::kF64);
  dispatch_stored(u.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    launch<&inner_rate_gate_kernel<T>>(
        ctx, blocks_for(rows * H), kThreads, rows * H, device_elements<T>(dlr),
        device_elements<T>(gate), scale, device_elements<double>(gradient));
    const double* ds = device_elements<double>(std::as_const(gradient));
    launch_rows<&inner_rate_backward_u_kernel<T>, kWarpRow>(
        ctx, rows, H, C, ds, device_elements<T>(w), device_elements<T>(du));
    backward_w<A>(ctx, gradient, u, dw);
    column_sums<&column_partials_kernel<double>>(
        ctx, rows, H, device_elements<T>(dbias), Write::kOverwrite, ds);
  });
}

void token_scale_forward(Context& ctx, const Tensor& learnable, Tensor& tok) {
  const int64_t n = tok.numel();
  dispatch(tok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&token_scale_forward_kernel<T>>(ctx, blocks_for(n), kThreads, n,
                                           device_elements<T>(learnable),
                                           device_elements<T>(tok));
  });
}

void token_scale_backward(Context& ctx, const Tensor& dtok,
                          const Tensor& learnable, Tensor& dlearnable) {
  const int64_t n = dtok.numel();
  dispatch(dtok.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&token_scale_backward_kernel<T>>(
        ctx, blocks_for(n), kThreads, n, device_elements<T>(dtok),
        device_elements<T>(learnable), device_elements<T>(dlearnable));
  });
}

}  // namespace timepipe::cuda
