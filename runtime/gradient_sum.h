#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/parameter.h"

namespace timepipe {

// The sum of gradients over chunks, sequences and ranks, in fixed point:
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

  // Starts a step of `max_addends` (sequence, chunk) pairs over all ranks.
  void start(int64_t max_addends);
  // Adds a chunk's gradient of one parameter. Once per chunk and parameter.
  void add(int64_t parameter, const Tensor& gradient);

  // Number of addends that were refused since start().
  int64_t num_refused() const { return num_refused_; }

  // The integers: words_per_element() planes of layout.numel() each.
  int words_per_element() const { return dtype_ == DType::kF32 ? 1 : 2; }
  std::span<const int64_t> plane(int word) const;

  // values[i] = the sum that planes[w][i] stand for, in `dtype`.
  static void to_values(DType dtype,
                        std::span<const std::span<const int64_t>> planes,
                        Tensor& values);

 private:
  const ParameterLayout& layout_;
  DType dtype_;
  Tensor words_;  // [words_per_element, numel], i64
  double limit_ = 0;
  int64_t num_refused_ = 0;
};

}  // namespace timepipe
