#include "kernels/layernorm.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void layernorm_forward(Context& ctx, const Tensor& x, const Tensor& w,
                       const Tensor& b, double eps, Tensor& y, Tensor& mean,
                       Tensor& rstd) {
  require_matrix("x", x);
  const int64_t N = x.dim(0), C = x.dim(1);
  require_tensor("w", w, x, {C});
  require_tensor("b", b, x, {C});
  require_stored("y", y, x, {N, C});
  require_tensor("mean", mean, x, {N});
  require_tensor("rstd", rstd, x, {N});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, layernorm_forward, x, w, b, eps, y, mean, rstd);
}

void layernorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd,
                        Tensor& dx, Tensor& dw, Tensor& db) {
  require_matrix("x", x);
  const int64_t N = x.dim(0), C = x.dim(1);
  require_tensor("dy", dy, x, {N, C});
  require_tensor("w", w, x, {C});
  require_tensor("mean", mean, x, {N});
  require_tensor("rstd", rstd, x, {N});
  require_tensor("dx", dx, x, {N, C});
  require_tensor("dw", dw, x, {C});
  require_tensor("db", db, x, {C});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, layernorm_backward, dy, x, w, mean, rstd, dx, dw, db);
}

}  // namespace timepipe
