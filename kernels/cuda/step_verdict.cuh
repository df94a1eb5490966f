#pragma once

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// The elements of a verdict (kernels/step_verdict.h).
struct Verdict {
  double loss, grad_norm, factor, finite;
};

struct StepSums {
  const double* losses;
  const double* squares;
  const int64_t* refused;
  int64_t num_losses, num_squares, num_refused;
};

// One block of kVerdictThreads.
inline constexpr int kVerdictThreads = 256;
__global__ void step_verdict_kernel(StepSums sums, double clip_norm,
                                    Verdict* verdict);

}  // namespace timepipe::cuda
