// Launches the rotary position embedding.

#include "kernels/rope.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/rope.cuh"
#include "kernels/cuda/row_launch.h"

namespace timepipe::cuda {

void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place) {
  const int64_t rows = x.dim(0), D = x.dim(1) / heads;
  const int64_t positions = std::min(place + rows, mini_batch);
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    Tensor table = ctx.allocate({positions, D}, dtype_of<T>());
    launch<&rope_table_kernel<T>>(
        ctx, blocks_for(positions * (D / 2)), kThreads, positions, D, theta,
        rotation == Rotation::kForward ? 1. : -1., device_elements<T>(table));
    launch_rows<&rope_kernel<A>, kWarpRow>(
        ctx, rows, heads, D, mini_batch, place,
        device_elements<T>(std::as_const(table)), device_elements<A>(x));
  });
}

}  // namespace timepipe::cuda
