// What a step comes to, on a device.

#include "kernels/step_verdict.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/step_verdict.cuh"

namespace timepipe::cuda {

void step_verdict(Context& ctx, const Tensor& losses, const Tensor& squares,
                  const Tensor& refused, double clip_norm, Tensor& verdict) {
  const StepSums sums{device_elements<double>(losses),
                      device_elements<double>(squares),
                      device_elements<int64_t>(refused),
                      losses.numel(),
                      squares.numel(),
                      refused.numel()};
  launch<&step_verdict_kernel>(
      ctx, 1, kVerdictThreads, sums, clip_norm,
      reinterpret_cast<Verdict*>(device_elements<double>(verdict)));
}

}  // namespace timepipe::cuda
