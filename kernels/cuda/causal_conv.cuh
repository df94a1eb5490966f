#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/segments.cuh"

namespace timepipe::cuda {

// A block of the two kernels over rows has so many threads side by side, each
// for one column, and so many rows of them; a thread takes every kConvGroups-th
// row of the block's kConvRows. So the rows that its windows share are read
// from memory once.
inline constexpr int kConvColumns = 32, kConvGroups = 8, kConvRows = 64;
// Of the kernel of sums over rows: columns of a block.
inline constexpr int kConvSumThreads = 128;

// The rows of a chunk, [rows,C], and the halos before them, [members*(k-1),C],
// null if none is read.
template <class A>
struct ConvRows {
  const A* chunk;
  const Computed<A>* halos;
  SegmentTable segments;
  int64_t rows, C, k;
};

// y [rows,C]. Shared memory: [k,kConvColumns] of w [C,1,k].
template <class A>
__global__ void causal_conv_forward_kernel(ConvRows<A> x, const Computed<A>* w,
                                           const Computed<A>* bias, A* y);

// Where the gradients of a chunk's rows and of halos [halo_rows,C] go.
template <class T>
struct ConvGradients {
  T *chunk, *halos;
  int64_t halo_rows;
  bool adds;
};

// From the rows of dy, which has no halos. Shared memory as above.
template <class A>
__global__ void causal_conv_backward_x_kernel(ConvRows<A> dy,
                                              const Computed<A>* w,
                                              ConvGradients<Computed<A>> dx);

// Partial sums of dw [C,1,k] and dbias [C], each kPartialRows of rows: dw
// [G,C*k], dbias [G,C], G = ceil(rows/kPartialRows). A block takes columns of
// one g.
template <class A>
__global__ void causal_conv_partials_kernel(ConvRows<A> x, const A* dy,
                                            double* dw, double* dbias);

}  // namespace timepipe::cuda
