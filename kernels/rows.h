#pragma once

#include "kernels/segment.h"
#include "runtime/context.h"

namespace timepipe {

// The rows that cross a chunk border: the halo of each member, [k-1,C] of
// [members*(k-1),C], becomes the last k-1 rows of [halo; its rows of x].
// x: [rows.count(),C], may be bf16 beside f32.
void push_rows(Context& ctx, const Tensor& x, const ChunkRows& rows,
               Tensor& halo);
// Its backward where members have k-1 rows or more, so that no row of the old
// halos stays: dx += dhalo, in the last rows of each. Throws InvalidArgument if
// they have fewer.
void push_rows_backward(Context& ctx, const Tensor& dhalo,
                        const ChunkRows& rows, Tensor& dx);

// to[i] = from[index[i]].  from [N], to [M], of one type; index [M], i64, each
// in [0,N), which nobody checks.
void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to);

}  // namespace timepipe
