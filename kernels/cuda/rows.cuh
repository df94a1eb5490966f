#pragma once

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// Members of a chunk (kernels/segment.h, ChunkRows) and halos [members*kept,C].
struct MemberRows {
  int64_t members, tokens, stride;
  int64_t kept, C;
};

// One thread for each column of each member.
template <class A>
__global__ void push_rows_kernel(MemberRows rows, const A* x,
                                 Computed<A>* halos);

// One thread for each element of the halos.
template <class T>
__global__ void push_rows_backward_kernel(MemberRows rows, const T* dhalos,
                                          T* dx);

// to[i] = from[index[i]], i in [0,n).
template <class T>
__global__ void take_elements_kernel(const T* from, const int64_t* index,
                                     int64_t n, T* to);

}  // namespace timepipe::cuda
