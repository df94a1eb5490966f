#include "kernels/adamw.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void require_beta(const char* name, double beta) {
  require(beta >= 0 && beta < 1, name, ": ", beta, ", expected [0,1)");
}

}  // namespace

void adamw(Context& ctx, const AdamW& hyper, const Tensor& verdict,
           const Tensor& gradient, Tensor& m, Tensor& v, Tensor& p) {
  require_floating("gradient", gradient);
  require_rank("gradient", gradient, 1);
  require_tensor("m", m, gradient, gradient.shape());
  require_tensor("v", v, gradient, gradient.shape());
  require_tensor("p", p, gradient, gradient.shape());
  require_dtype("verdict", verdict, DType::kF64);
  require_shape("verdict", verdict, {kVerdictSize});
  require_beta("beta1", hyper.beta1);
  require_beta("beta2", hyper.beta2);
  require(hyper.step >= 0, "step: ", hyper.step, ", expected at least 0");
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, adamw, hyper, verdict, gradient, m, v, p);
}

}  // namespace timepipe
