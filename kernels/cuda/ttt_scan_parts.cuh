#pragma once

#include "kernels/cuda/ttt_pass.cuh"
#include "kernels/cuda/ttt_scan.cuh"

// What the kernels of the scan share.

namespace timepipe::cuda::ttt {

template <class T>
__device__ Arena<T> arena_of_block(const BlockScratch<T>& scratch, T* shared) {
  return Arena<T>(scratch.blocks == nullptr
                      ? shared
                      : scratch.blocks + blockIdx.x * scratch.size);
}

template <class T>
__device__ Norm<T> norm_of_head(const Inputs<T>& inputs, const Head<T>& head) {
  return norm_of_head(inputs.ln_w, inputs.ln_b, head.shape.head_size,
                      head.head);
}

// The i-th of the heads of all members.
template <class T>
__device__ Head<T> head_of_chain(const Scan<T>& scan, int64_t i) {
  return {scan.shape, i % scan.shape.heads, i / scan.shape.heads};
}

// The learned start among the kept states.
template <class T, class U>
__device__ State<U> kept_start(const Scan<T>& scan, const Head<T>& head,
                               U* kept) {
  return head.state(kept, scan.members * scan.groups());
}

// A group of places of one chain.
template <class T>
struct Group {
  Head<T> head;
  int64_t index;       // among those of all members
  int64_t begin, end;  // places
  const Cut* cuts;     // of the member

  __device__ Group(const Scan<T>& scan, const Head<T>& head, int64_t group)
      : head(head),
        index(head.member * scan.groups() + group),
        begin(group * kGroup),
        end(begin + kGroup < scan.places ? begin + kGroup : scan.places),
        cuts(scan.cuts + head.member * scan.places) {}
  // The i-th in the order [members, groups, H].
  __device__ Group(const Scan<T>& scan, int64_t i)
      : Group(scan,
              {scan.shape, i % scan.shape.heads,
               i / scan.shape.heads / scan.groups()},
              i / scan.shape.heads % scan.groups()) {}
};

// The rows of a place that `cut` leaves.
template <class T>
__device__ Cut padding_after(const Scan<T>& scan, const Cut& cut) {
  const int64_t end = cut.row + scan.shape.mini_batch;
  const int64_t begin = cut.row + cut.rows;
  return {begin, static_cast<int>((end < scan.rows ? end : scan.rows) - begin),
          false};
}

}  // namespace timepipe::cuda::ttt
