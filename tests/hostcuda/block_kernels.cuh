#pragma once

// Kernels that write down what the built-ins of a block and a warp gave them.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// What a thread of a grid of any shape sees.
struct Seen {
  unsigned calls;
  uint3 thread, block;
  dim3 block_dim, grid_dim;
};
// seen[block number][thread number]
__global__ void see(Seen* seen);

// So often all threads pass a barrier; one that finds that others did not come
// to it adds to *wrong.
__global__ void count_at_barriers(int* wrong, int rounds);

// Two static arrays, one of which two functions declare, and a dynamic one; in
// `wrong` how often they were not separate, aligned, NaN at first.
template <class T>
__global__ void use_shared(int* wrong, int dynamic);

// out[k][thread]: of value[thread] what the k-th shuffle of the list in
// warp_test.cc gives.
constexpr int kShuffles = 7;
template <class T>
__global__ void shuffle_values(T* out, const T* value);

// Halves of the warp shuffle within their own masks, one of them more often.
__global__ void shuffle_in_halves(int* out);

// out[0..3][thread]: warp_sum, five shuffles, warp_max, five shuffles.
template <class T>
__global__ void reduce(T* out, const T* value);

// Lanes hand values on through shared memory, with __syncwarp between.
__global__ void pass_through_shared(int* out, int rounds);

}  // namespace timepipe::cuda
