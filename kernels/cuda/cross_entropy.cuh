#pragma once

// Softmax and loss of rows of logits [rows, vocab], kRow threads for each.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// kIgnoredTarget of kernels/cross_entropy.h.
inline constexpr int64_t kNoTarget = -100;

// losses[r] = -log softmax(z[r,:])[targets[r]]; 0 without a target.
template <int kRow, class T>
__global__ void row_losses_kernel(int64_t rows, int64_t vocab, const T* z,
                                  const int64_t* targets, double* losses);

// The same, and dz[r,:] = scale (softmax(z[r,:]) - onehot(targets[r])) with the
// scale of the row's member; the rows are those of a chunk from first_row on.
// dz may be z.
template <int kRow, class A>
__global__ void row_gradients_kernel(int64_t rows, int64_t vocab,
                                     const Computed<A>* z,
                                     const int64_t* targets,
                                     const double* scales, int64_t first_row,
                                     int64_t stride, double* losses, A* dz);

// sums[m] = scales[m] times the sum of the losses of member m's rows,
// [m stride, m stride + tokens): of kLossPieces pieces of them, each in order,
// then of the pieces in order. A block of kLossPieces threads for each member.
inline constexpr int kLossPieces = 256;
__global__ void member_losses_kernel(int64_t tokens, int64_t stride,
                                     const double* losses, const double* scales,
                                     double* sums);

}  // namespace timepipe::cuda
