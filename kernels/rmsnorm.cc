#include "kernels/rmsnorm.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void rmsnorm_forward(Context& ctx, const Tensor& x, const Tensor& w, double eps,
                     Tensor& y, Tensor& rstd) {
  require_matrix("x", x);
  require_tensor("w", w, x, {x.dim(1)});
  require_stored("y", y, x, x.shape());
  require_tensor("rstd", rstd, x, {x.dim(0)});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, rmsnorm_forward, x, w, eps, y, rstd);
}

void rmsnorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                      const Tensor& w, const Tensor& rstd, Tensor& dx,
                      Write write_dx, Tensor& dw, Write write_dw) {
  require_matrix("x", x);
  require_tensor("dy", dy, x, x.shape());
  require_tensor("w", w, x, {x.dim(1)});
  require_tensor("rstd", rstd, x, {x.dim(0)});
  require_tensor("dx", dx, x, x.shape());
  require_tensor("dw", dw, x, {x.dim(1)});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, rmsnorm_backward, dy, x, w, rstd, dx, write_dx, dw,
                  write_dw);
}

}  // namespace timepipe
