#include "kernels/finite.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

bool all_finite(Context& ctx, const Tensor& x) {
  require_floating("x", x);
  const KernelScope scope(ctx);
  return TIMEPIPE_KERNEL(ctx, all_finite, x);
}

}  // namespace timepipe
