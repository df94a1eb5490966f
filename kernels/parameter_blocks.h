#pragma once

#include "runtime/context.h"
#include "runtime/parameter.h"

namespace timepipe {

// Of the blocks [first, last) of a layout.

// sums [last-first] of f64: the sums of squares, each in an order that its
// length fixes. shard: the elements from the beginning of block `first` on.
void block_square_sums(Context& ctx, const ParameterLayout& layout,
                       int64_t first, int64_t last, const Tensor& shard,
                       Tensor& sums);

// hashes [last-first] of i64: the bits of xxh64 of each block's bytes. flat:
// all elements of the layout.
void block_hashes(Context& ctx, const ParameterLayout& layout, int64_t first,
                  int64_t last, const Tensor& flat, Tensor& hashes);

}  // namespace timepipe
