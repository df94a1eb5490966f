#pragma once

#include "runtime/context.h"

namespace timepipe {

// What a step comes to, as a tensor [kVerdictSize] of f64 in this order.
struct StepVerdict {
  double loss;
  double grad_norm;  // before clipping
  double factor;     // of the gradient: clip_norm / grad_norm if it is clipped
  double finite;     // 1; or 0: loss or norm isn't, or addends were refused

  static StepVerdict of(const double* numbers) {
    return {numbers[0], numbers[1], numbers[2], numbers[3]};
  }
};
inline constexpr int64_t kVerdictSize = 4;

// From what all ranks have: losses [n] of f64, added in their order; squares
// [blocks] of f64, the sums of squares of the gradient's blocks, likewise;
// refused [ranks] of i64. The gradient is clipped if its norm is clip_norm or
// more; 0: never.
void step_verdict(Context& ctx, const Tensor& losses, const Tensor& squares,
                  const Tensor& refused, double clip_norm, Tensor& verdict);

}  // namespace timepipe
