#pragma once

// LayerNorm; x, y: [N,C], w, b: [C], mean, rstd: [N].

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// kRow threads share a row.
template <int kRow, class A>
__global__ void layernorm_forward_kernel(int64_t N, int64_t C,
                                         const Computed<A>* x,
                                         const Computed<A>* w,
                                         const Computed<A>* b, double eps, A* y,
                                         Computed<A>* mean, Computed<A>* rstd);
template <int kRow, class T>
__global__ void layernorm_backward_x_kernel(int64_t N, int64_t C, const T* dy,
                                            const T* x, const T* w,
                                            const T* mean, const T* rstd,
                                            T* dx);
// Partial sums of dw (column_sums.cuh); those of db are those of dy itself.
template <class T>
__global__ void layernorm_backward_w_kernel(int64_t N, int64_t C, const T* dy,
                                            const T* x, const T* mean,
                                            const T* rstd, double* partials);

}  // namespace timepipe::cuda
