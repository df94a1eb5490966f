#include "kernels/finite.h"

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {

bool all_finite(Context& ctx, const Tensor& x) {
  require_floating("x", x);
  const KernelScope scope(ctx);
  return cpu::all_finite(ctx, x);
}

}  // namespace timepipe
