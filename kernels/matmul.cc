#include "kernels/matmul.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void matmul(Context& ctx, Form form, const Tensor& a, const Tensor& b,
            Tensor& c, Write write) {
  require_matrix("a", a, /*or_bf16=*/true);
  require_rank("b", b, 2);
  const bool a_turned = form == Form::kTN, b_turned = form == Form::kNT;
  const int64_t M = a.dim(a_turned ? 1 : 0), K = a.dim(a_turned ? 0 : 1);
  const int64_t N = b.dim(b_turned ? 0 : 1);
  require_tensor("b", b, a, b_turned ? Shape{N, K} : Shape{K, N});
  if (a.dtype() == c.dtype()) {
    require_shape("c", c, {M, N});
  } else {
    require_wide("c", c, a, {M, N});
  }
  require(c.dtype() != DType::kBF16 || write == Write::kOverwrite,
          "c: dtype bf16, expected f32 to add to");
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, matmul, form, a, b, c, write);
}

}  // namespace timepipe
