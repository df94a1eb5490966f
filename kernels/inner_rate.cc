#include "kernels/inner_rate.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void inner_rate_forward(Context& ctx, const Tensor& u, const Tensor& w,
                        const Tensor& bias, double scale, Tensor& gate,
                        Tensor& lr) {
  require_matrix("u", u, /*or_bf16=*/true);
  require_rank("w", w, 3);
  const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
  require_wide("w", w, u, {H, 1, C});
  require_wide("bias", bias, u, {H, 1});
  require_wide("gate", gate, u, {rows, H});
  require_wide("lr", lr, u, {rows, H});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, inner_rate_forward, u, w, bias, scale, gate, lr);
}

void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias) {
  require_matrix("u", u, /*or_bf16=*/true);
  require_rank("w", w, 3);
  const int64_t rows = u.dim(0), C = u.dim(1), H = w.dim(0);
  require_wide("dlr", dlr, u, {rows, H});
  require_wide("w", w, u, {H, 1, C});
  require_wide("gate", gate, u, {rows, H});
  require_wide("du", du, u, {rows, C});
  require_wide("dw", dw, u, {H, 1, C});
  require_wide("dbias", dbias, u, {H, 1});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, inner_rate_backward, dlr, u, w, gate, scale, du, dw,
                  dbias);
}

void token_scale_forward(Context& ctx, const Tensor& learnable, Tensor& tok) {
  require_floating("learnable", learnable);
  require_rank("learnable", learnable, 1);
  require_tensor("tok", tok, learnable, learnable.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, token_scale_forward, learnable, tok);
}

void token_scale_backward(Context& ctx, const Tensor& dtok,
                          const Tensor& learnable, Tensor& dlearnable) {
  require_floating("learnable", learnable);
  require_rank("learnable", learnable, 1);
  require_tensor("dtok", dtok, learnable, learnable.shape());
  require_tensor("dlearnable", dlearnable, learnable, learnable.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, token_scale_backward, dtok, learnable, dlearnable);
}

}  // namespace timepipe
