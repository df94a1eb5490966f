#pragma once

#include "kernels/cuda/ttt_arguments.cuh"

namespace timepipe::cuda::ttt {

// kernels/ttt_scan.h on the memory of a device. The rows of a member lie in
// `places` of a mini-batch each; a head of a member is a chain, which goes
// through its places in order. The forward chain keeps the state before every
// group of places, so that all else is done on all groups at once.
inline constexpr int kGroup = 16;

// What all parts know of a chunk.
template <class T>
struct Scan {
  TttShape shape;
  int64_t members, places;  // of a member
  int64_t rows;             // of the chunk
  const Cut* cuts;  // [members, places]; no rows: padding only. A cut begins at
                    // the first row of its place
  Inputs<T> inputs;

  __host__ __device__ int64_t chains() const { return members * shape.heads; }
  // Of a member.
  __host__ __device__ int64_t groups() const {
    return (places + kGroup - 1) / kGroup;
  }
};

// Where the blocks of a kernel have their scratch.
template <class T>
struct BlockScratch {
  T* blocks;     // null: in the shared memory that they were launched with
  int64_t size;  // elements of a block
};

// kept: states [members * groups + 1, state_size], those before the groups and
// the learned start.

template <class T>
struct ForwardChain {
  Scan<T> scan;
  const T *start, *states_in;  // states_in: null if it isn't read
  T *kept, *states_out;
  BlockScratch<T> scratch;
};

template <class T>
struct ForwardRead {
  Scan<T> scan;
  const T* kept;
  T* y;  // [rows, H*D]
  BlockScratch<T> scratch;
};

// What the parts of the backward pass on to each other. Sums are those of
// HeadSums, [head_sums_size()] each.
template <class T>
struct Passed {
  double* group_sums;               // [members, groups, H], by the reads
  double* chain_sums;               // [members, H], of all
  T *dk, *dz_bar, *dz, *dtarget;    // [rows, H*D]
  T *dz1_bar, *dz1, *dx2, *x2_bar;  // [rows, H*4D], kMlp's
};

template <class T>
struct BackwardRead {
  Scan<T> scan;
  const T* kept;
  RowGradients<T> d;  // dxq is written, and the others' padding
  Passed<T> passed;
  BlockScratch<T> scratch;
};

template <class T>
struct BackwardChain {
  Scan<T> scan;
  const T* kept;
  const T* dstates_out;  // null: zero
  T* dstates_in;         // the gradient of the running state
  T* dstarts;            // [members, state_size]
  T* dlr;                // [rows, H]
  Passed<T> passed;
  BlockScratch<T> scratch;
  T* steps;  // of each block [kGroup, step_size]
  int64_t step_size;
};

template <class T>
struct BackwardFinish {
  Scan<T> scan;
  RowGradients<T> d;  // dxk and dxv are written
  Passed<T> passed;
};

// A block takes a chain, or a group of one, after the other.
template <class T, class Model>
__global__ void ttt_scan_chain(ForwardChain<T> args);
template <class T, class Model>
__global__ void ttt_scan_read(ForwardRead<T> args);
template <class T, class Model>
__global__ void ttt_scan_backward_read(BackwardRead<T> args);
template <class T, class Model>
__global__ void ttt_scan_backward_chain(BackwardChain<T> args);
// A block for each head and place.
template <class T>
__global__ void ttt_scan_backward_finish(BackwardFinish<T> args);

// The members' [members, size] in order.
template <class T>
__global__ void ttt_scan_add_starts(const T* dstarts, int64_t members,
                                    int64_t size, T* dstart);

// Elements of scratch that a block takes, and a place in `steps`.
template <class T, class Model>
int64_t scan_chain_size(const TttShape& shape);
template <class T, class Model>
int64_t scan_read_size(const TttShape& shape);
template <class T, class Model>
int64_t scan_backward_read_size(const TttShape& shape);
template <class T, class Model>
int64_t scan_backward_chain_size(const TttShape& shape);
template <class T, class Model>
int64_t scan_step_size(const TttShape& shape);

}  // namespace timepipe::cuda::ttt
