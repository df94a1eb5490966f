#pragma once

// Arguments of the kernels of a TTT layer, scan and decoding.

#include <type_traits>

#include "kernels/cuda/device.h"
#include "kernels/ttt_shape.h"

namespace timepipe::cuda::ttt {

// Of a block.
inline constexpr int kMostThreads = 256;

template <class T>
struct LinearModel;
template <class T>
struct MlpModel;

// Where a mini-batch lies in the chunk.
struct Cut {
  int64_t row;
  int rows;
  bool resets;  // the state restarts before it
};

// A sum for each row over its columns: kLanes threads share a row, lane l adds
// up columns l, l + kLanes, ..; who needs the sum adds the lanes.
inline constexpr int kLanes = 8;

// Elements of one head's gradient sums: dln_w, dln_b [D] and dtok [b, kLanes].
__host__ __device__ inline int64_t head_sums_size(const TttShape& shape) {
  return 2 * shape.head_size + shape.mini_batch * kLanes;
}

// Elements of an activation: T, or bf16 beside T = f32. One of the two is null.
template <class T>
struct Activations {
  using Narrow = std::conditional_t<std::is_const_v<T>, const bf16, bf16>;

  T* wide = nullptr;
  Narrow* narrow = nullptr;
};

// What both passes read of one chunk or of some tokens; rows t.
template <class T>
struct Inputs {
  Activations<const T> xq, xk, xv;  // [T, H*D]
  const T* lr;                      // [T, H]
  const T* tok;                     // [b] or of these rows
  const T *ln_w, *ln_b;             // [H, D]
};

// Gradients of the rows, and that of y.
template <class T>
struct RowGradients {
  const T* dy;                   // [T, H*D]
  Activations<T> dxq, dxk, dxv;  // [T, H*D]
  T* dlr;                        // [T, H]
};

}  // namespace timepipe::cuda::ttt
