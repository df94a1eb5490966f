#pragma once

// Rows of the embedding, and the sums of their gradients by id.
//
// The sum for an id has to be in the order of its positions t, and no two
// blocks may add to one row. So the positions are sorted by id, those of an id
// in their order: keys that hold both are all different, and have one order.
// Blocks that each scan all ids for a range of the vocabulary would read
// vocab/range times as much, and the blocks of the most frequent ids would work
// alone; by sorted positions every id has a warp for every 32 columns.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// x[t,:] = table[ids[t],:], a warp for each row.
template <class T>
__global__ void embedding_forward_kernel(int64_t rows, int64_t C,
                                         const int64_t* ids, const T* table,
                                         T* x);

// keys[i] of t and ids[t]: those of each block of kSortedKeys positions in
// ascending order. One thread for each.
inline constexpr int kSortedKeys = 256;
__global__ void embedding_sort_kernel(int64_t rows, const int64_t* ids,
                                      int64_t* keys);
// Pieces of `width` keys are sorted; those of twice the width become so.
__global__ void embedding_merge_kernel(int64_t rows, int64_t width,
                                       const int64_t* from, int64_t* to);
// dtable[v,c] += dx[t,c] in the order of the sorted keys.
template <class T>
__global__ void embedding_backward_kernel(int64_t rows, int64_t C,
                                          const int64_t* keys, const T* dx,
                                          T* dtable);

}  // namespace timepipe::cuda
