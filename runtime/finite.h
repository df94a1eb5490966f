#pragma once

// Numbers that must be finite: weights and results of others' files.

#include <string>

#include "runtime/tensor.h"

namespace timepipe {

// Throws InvalidArgument ("NAME: 2 of 64 numbers aren't finite, the first at
// [0,7]: nan") unless all elements of a tensor of f32 or f64 are finite.
void require_finite(const std::string& name, const Tensor& tensor);

// As convert(), then throws likewise unless all of `to` is finite: a number of
// f64 may be beyond the range of f32.
void convert_finite(const std::string& name, const Tensor& from, Tensor to);

}  // namespace timepipe
