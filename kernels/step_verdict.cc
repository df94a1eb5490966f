#include "kernels/step_verdict.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void step_verdict(Context& ctx, const Tensor& losses, const Tensor& squares,
                  const Tensor& refused, double clip_norm, Tensor& verdict) {
  require_dtype("losses", losses, DType::kF64);
  require_dtype("squares", squares, DType::kF64);
  require_dtype("refused", refused, DType::kI64);
  require_dtype("verdict", verdict, DType::kF64);
  require_shape("verdict", verdict, {kVerdictSize});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, step_verdict, losses, squares, refused, clip_norm,
                  verdict);
}

}  // namespace timepipe
