#pragma once

#include "runtime/context.h"

namespace timepipe {

// The rows that cross a chunk border: halo [k-1,C] becomes the last k-1 rows of
// [halo; x], x [T,C].
void push_rows(Context& ctx, const Tensor& x, Tensor& halo);

// to[i] = from[index[i]].  from [N], to [M], of one type; index [M], i64, each
// in [0,N), which nobody checks.
void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to);

}  // namespace timepipe
