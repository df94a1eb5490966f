#pragma once

#include "runtime/context.h"

namespace timepipe {

// Sums of gradients in fixed point (parallel/gradient_sum.h): words [W,N] of
// i64. W = 1 for f32, in units of 2^-52; W = 2 for f64, in units of 2^-40 and,
// the rest, of 2^-88, without carry between them.

int64_t gradient_sum_words(DType dtype);  // W

// words[:, offset + i] += gradient[i], rounded, if it is below `limit` in size;
// a larger one, or one that isn't finite, adds 1 to refused [1] of i64 instead.
void gradient_sum_add(Context& ctx, const Tensor& gradient, double limit,
                      int64_t offset, Tensor& words, Tensor& refused);

// values[i] = the number that words[:, offset + i] stand for, in the type of
// values.
void gradient_sum_values(Context& ctx, const Tensor& words, int64_t offset,
                         Tensor& values);

}  // namespace timepipe
