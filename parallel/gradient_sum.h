#pragma once

#include <cstdint>

#include "runtime/parameter.h"

namespace timepipe {

// The sum of gradients over chunks, micro-batches and ranks, in fixed point:
// integers are added, so the order of addends, the number of ranks and the
// transport's reduction tree leave no trace in the bits (docs/design.md).
//
// f32: one int64 per element in units of 2^-52. f64: two, hi in units of 2^-40
// and lo, the rest, in units of 2^-88, without carry between them. An addend
// is below 2^11/N in size, N = `max_addends` rounded up to a power of two, so
// that the sum over all ranks can't wrap; a larger one, or one that is not
// finite, marks the step as non-finite instead. N is at most 2^39 for f32, 2^15
// for f64 (InvalidArgument).
class GradientSum {
 public:
  GradientSum(Context& ctx, const ParameterLayout& layout, DType dtype);

  // Starts a step of `max_addends` (micro-batch, chunk) pairs over all ranks.
  void start(Context& ctx, int64_t max_addends);
  // Adds a chunk's gradient of one parameter. Once per chunk and parameter.
  void add(Context& ctx, int64_t parameter, const Tensor& gradient);
  // Ends the step: the words may be summed over ranks where they are. As add(),
  // throws InvalidArgument unless a step has been started.
  void end();

  DType dtype() const { return dtype_; }
  // The integers: [words per element, layout.numel()], i64; see
  // kernels/gradient_sum.h.
  const Tensor& words() const { return words_; }
  // Addends that were refused since start(): [1], i64.
  const Tensor& refused() const { return refused_; }

 private:
  const ParameterLayout& layout_;
  DType dtype_;
  Tensor words_, refused_;
  double limit_ = 0;
};

}  // namespace timepipe
