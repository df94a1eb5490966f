#include "kernels/rope.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place) {
  require_matrix("x", x, /*or_bf16=*/true);
  require(heads > 0 && x.dim(1) % (2 * heads) == 0, "x: shape ", x.shape(),
          ", expected columns for ", heads, " heads of an even size");
  require(mini_batch > 0, "mini_batch: ", mini_batch, ", expected at least 1");
  require(0 <= place && place < mini_batch, "place: ", place,
          ", expected one in [0, ", mini_batch, ")");
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, rope, rotation, heads, mini_batch, theta, x, place);
}

}  // namespace timepipe
