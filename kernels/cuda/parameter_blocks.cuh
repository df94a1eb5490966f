#pragma once

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// One parameter of a layout (runtime/parameter.h).
struct ParameterSpan {
  int64_t first_block;
  int64_t offset, count;  // elements
};

// All parameters, in their order; none is empty.
struct ParameterTable {
  const ParameterSpan* list;
  int64_t count;
};

// sums[b] of block first + b, one block of threads each; shard begins at
// element `begin` of the layout.
inline constexpr int kSquareThreads = 256;
template <class T>
__global__ void block_square_sums_kernel(ParameterTable parameters,
                                         int64_t first, const T* shard,
                                         int64_t begin, double* sums);

// hashes[b] of block first + b, b in [0,n); kHashLanes threads each, of blocks
// of kHashThreads. bytes: the layout's elements, of so many bytes.
inline constexpr int kHashLanes = 4, kHashThreads = 128;
__global__ void block_hashes_kernel(ParameterTable parameters, int64_t first,
                                    int64_t n, const unsigned char* bytes,
                                    int64_t element_bytes, uint64_t* hashes);

}  // namespace timepipe::cuda
