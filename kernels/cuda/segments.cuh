#pragma once

#include "kernels/cuda/device.h"
#include "kernels/segment.h"

namespace timepipe::cuda {

// The segments of a chunk in the memory of the device (kernels/cuda/segments.h
// brings them there), in their order.
struct SegmentTable {
  const Segment* list;
  int64_t count;

  // That of row t; null if t is padding.
  __device__ const Segment* of_row(int64_t t) const {
    const int64_t next =
        first_that([=](const Segment& segment) { return segment.row > t; });
    if (next == 0) return nullptr;
    const Segment* found = list + next - 1;
    return t < found->row + found->rows ? found : nullptr;
  }

  // The first of a member; null if it has none.
  __device__ const Segment* of_member(int64_t member) const {
    const int64_t first = first_that(
        [=](const Segment& segment) { return segment.member >= member; });
    if (first == count || list[first].member != member) return nullptr;
    return list + first;
  }

 private:
  // The first for which `holds` is true, as it is then for all that follow;
  // `count` if there is none.
  template <class F>
  __device__ int64_t first_that(F holds) const {
    int64_t begin = 0, end = count;
    while (begin < end) {
      const int64_t middle = begin + (end - begin) / 2;
      if (holds(list[middle])) {
        end = middle;
      } else {
        begin = middle + 1;
      }
    }
    return begin;
  }
};

}  // namespace timepipe::cuda
