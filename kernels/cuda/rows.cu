// Moves rows and elements: kernels/rows.h.

#include "kernels/cuda/rows.cuh"

namespace timepipe::cuda {

template <class A>
__global__ void push_rows_kernel(MemberRows rows, const A* x,
                                 Computed<A>* halos) {
  const int64_t i = global_thread();
  if (i >= rows.members * rows.C) return;
  const int64_t member = i / rows.C, c = i % rows.C;
  const int64_t taken = rows.tokens < rows.kept ? rows.tokens : rows.kept;
  const int64_t stay = rows.kept - taken;
  Computed<A>* halo = halos + member * rows.kept * rows.C + c;
  const int64_t first = member * rows.stride + rows.tokens - taken;
  // Row after row, so that none is overwritten before it was moved.
  for (int64_t r = 0; r < stay; ++r) {
    halo[r * rows.C] = halo[(r + taken) * rows.C];
  }
  for (int64_t r = 0; r < taken; ++r) {
    halo[(stay + r) * rows.C] = widen(x[(first + r) * rows.C + c]);
  }
}

template <class T>
__global__ void push_rows_backward_kernel(MemberRows rows, const T* dhalos,
                                          T* dx) {
  const int64_t of_member = rows.kept * rows.C;
  const int64_t n = rows.members * of_member;
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const int64_t member = i / of_member;
    const int64_t first = member * rows.stride + rows.tokens - rows.kept;
    dx[first * rows.C + i % of_member] += dhalos[i];
  }
}

template <class T>
__global__ void take_elements_kernel(const T* from, const int64_t* index,
                                     int64_t n, T* to) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    to[i] = from[index[i]];
  }
}

template __global__ void push_rows_kernel(MemberRows, const float*, float*);
template __global__ void push_rows_kernel(MemberRows, const double*, double*);
template __global__ void push_rows_kernel(MemberRows, const bf16*, float*);
template __global__ void push_rows_backward_kernel(MemberRows, const float*,
                                                   float*);
template __global__ void push_rows_backward_kernel(MemberRows, const double*,
                                                   double*);
template __global__ void take_elements_kernel(const float*, const int64_t*,
                                              int64_t, float*);
template __global__ void take_elements_kernel(const double*, const int64_t*,
                                              int64_t, double*);

}  // namespace timepipe::cuda
