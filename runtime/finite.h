#pragma once

// Numbers that must be finite: weights and results of others' files.

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/context.h"

namespace timepipe {

// Throws InvalidArgument ("NAME: 2 of 64 numbers aren't finite, the first at
// [0,7]: nan") unless all elements of an array of f32 or f64 are finite.
void require_finite(const std::string& name, const HostArray& array);

// As converted(), then throws likewise unless all of the result is finite: a
// number of f64 may be beyond the range of f32.
HostArray converted_finite(const std::string& name, const HostArray& from,
                           DType dtype);

// Elements [first, first + count) of an array in row-major order, f32 or f64.
using ReadElements = std::function<HostArray(int64_t first, int64_t count)>;

// Uploads an array of the shape of `to`, converted to its type, piece by piece:
// what the host holds of it is small. Throws likewise; some pieces are uploaded
// then.
void upload_finite(Context& ctx, const std::string& name,
                   const ReadElements& read, const Tensor& to);

}  // namespace timepipe
