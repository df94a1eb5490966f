#pragma once

// RMSNorm; x, y: [N,C], w: [C], rstd: [N].

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// kRow threads share a row.
template <int kRow, class A>
__global__ void rmsnorm_forward_kernel(int64_t N, int64_t C,
                                       const Computed<A>* x,
                                       const Computed<A>* w, double eps, A* y,
                                       Computed<A>* rstd);
template <int kRow, class T>
__global__ void rmsnorm_backward_x_kernel(int64_t N, int64_t C, const T* dy,
                                          const T* x, const T* w, const T* rstd,
                                          T* dx, bool adds);
// Partial sums of dw (column_sums.cuh). By itself, for it has many more threads
// than one that sums rows as well could have; what that has read mostly lies in
// the cache yet.
template <class T>
__global__ void rmsnorm_backward_w_kernel(int64_t N, int64_t C, const T* dy,
                                          const T* x, const T* rstd,
                                          double* partials);

}  // namespace timepipe::cuda
