// Looks for numbers that aren't finite, on a device.

#include "kernels/finite.h"

#include "kernels/cuda/finite.cuh"
#include "kernels/cuda/launch.h"
#include "runtime/transfer.h"

namespace timepipe::cuda {

bool all_finite(Context& ctx, const Tensor& x) {
  if (x.empty()) return true;
  Tensor found = ctx.zeros({1}, DType::kI64);
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&count_infinite_kernel<T>>(
        ctx, blocks_for(x.numel()), kThreads, device_elements<T>(x), x.numel(),
        reinterpret_cast<Counter*>(device_elements<int64_t>(found)));
  });
  int64_t count = 0;
  download(ctx, found, std::span(&count, 1));
  return count == 0;
}

}  // namespace timepipe::cuda
