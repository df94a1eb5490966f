#pragma once

#include "kernels/cuda/ttt_arguments.cuh"

namespace timepipe::cuda::ttt {

// kernels/ttt_decode.h on the memory of a device. A block works on one head and
// takes its scratch from shared memory or, if that is too small, from `scratch`
// [H, scratch_size].
template <class T>
struct DecodeForward {
  TttShape shape;
  int rows;
  Inputs<T> inputs;
  const T *state, *sum_in;  // [state_size]
  T* y;                     // [r, H*D]
  T* sum_out;               // [state_size]; may be sum_in
  T* state_last;            // [state_size]; may be state; null: not wanted
  T* scratch;
  int64_t scratch_size;
};

template <class T>
struct DecodeBackward {
  TttShape shape;
  int rows;
  Inputs<T> inputs;
  const T *state, *sum_in;          // [state_size]
  const T *dsum_out, *dstate_last;  // [state_size]; null: zero
  RowGradients<T> d;
  T *dstate, *dsum_in;  // [state_size]
  T* after;             // [state_size] gradient of the sum after the rows
  double* sums;         // [H, HeadSums::size()], added to
  T* scratch;
  int64_t scratch_size;
};

template <class T, class Model>
__global__ void ttt_decode_forward(DecodeForward<T> args);
template <class T, class Model>
__global__ void ttt_decode_backward(DecodeBackward<T> args);

// Elements of scratch that a head takes.
template <class T, class Model>
int64_t decode_forward_size(const TttShape& shape, int rows);
template <class T, class Model>
int64_t decode_backward_size(const TttShape& shape, int rows, int threads);

}  // namespace timepipe::cuda::ttt
