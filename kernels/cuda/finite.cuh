#pragma once

#include "kernels/cuda/numbers.cuh"

namespace timepipe::cuda {

// Adds to *found how many of x[0..n) aren't finite.
template <class T>
__global__ void count_infinite_kernel(const T* x, int64_t n, Counter* found);

}  // namespace timepipe::cuda
