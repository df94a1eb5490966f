#pragma once

#include "kernels/cuda/numbers.cuh"

namespace timepipe::cuda {

// words[i] and, for f64, words[plane + i] += gradient[i], i in [0,n); adds to
// *refused how many weren't below `limit` in size.
template <class T>
__global__ void gradient_sum_add_kernel(const T* gradient, int64_t n,
                                        double limit, int64_t* words,
                                        int64_t plane, Counter* refused);

template <class T>
__global__ void gradient_sum_values_kernel(const int64_t* words, int64_t plane,
                                           int64_t n, T* values);

}  // namespace timepipe::cuda
