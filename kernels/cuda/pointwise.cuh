#pragma once

// Sums and gates of n elements, kWidth at a time (pack.cuh). An output may be
// an input's memory.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

template <int kWidth, class T>
__global__ void add_kernel(int64_t n, const T* x, T* y);
template <int kWidth, class A>
__global__ void round_kernel(int64_t n, const Computed<A>* x, A* y);
template <int kWidth, class A>
__global__ void swiglu_forward_kernel(int64_t n, const A* a, const A* b, A* y);
template <int kWidth, class A>
__global__ void swiglu_backward_kernel(int64_t n, const A* dy, const A* a,
                                       const A* b, A* da, A* db);
template <int kWidth, class A>
__global__ void gelu_gate_forward_kernel(int64_t n, const Computed<A>* x,
                                         const A* g, A* y);
template <int kWidth, class A>
__global__ void gelu_gate_backward_kernel(int64_t n, const A* dy,
                                          const Computed<A>* x, const A* g,
                                          Computed<A>* dx, A* dg);

}  // namespace timepipe::cuda
