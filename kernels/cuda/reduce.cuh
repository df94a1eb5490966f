#pragma once

// Sums and maxima over the threads of a warp or a block, in an order that
// follows from the number of threads alone.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kWholeWarp = 0xffffffffu;

// The sum over a warp's lanes, by the tree that pairs lanes 16, 8, 4, 2, 1
// apart: every lane gets the same bits.
template <class T>
__device__ T warp_sum(T value) {
#ifdef TIMEPIPE_HOST_CUDA  // the same bits sooner
  return hostcuda::warp_sum(value, __FILE__, __LINE__);
#else
  TIMEPIPE_UNROLL
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value += __shfl_xor_sync(kWholeWarp, value, apart);
  }
  return value;
#endif
}

// The largest of floating-point values. NaN is passed over.
template <class T>
__device__ T warp_max(T value) {
#ifdef TIMEPIPE_HOST_CUDA
  return hostcuda::warp_max(value, __FILE__, __LINE__);
#else
  TIMEPIPE_UNROLL
  for (int apart = kWarp / 2; apart > 0; apart /= 2) {
    value = fmax(value, __shfl_xor_sync(kWholeWarp, value, apart));
  }
  return value;
#endif
}

// join(...join(join(w[0], w[1]), w[2])...) over the values that the warps of a
// block of kThreads hold, for all threads. `shared` has kThreads / 32 places;
// it is free again when this returns.
template <int kThreads, class T, class F>
__device__ T join_warps(T value, T* shared, F join) {
  if constexpr (kThreads > kWarp) {
    if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = shared[0];
    for (int w = 1; w < kThreads / kWarp; ++w) value = join(value, shared[w]);
    __syncthreads();
  }
  return value;
}

// The sum over a block of kThreads: each warp's by its tree, then warp after
// warp. Every thread of the block calls it and gets the same bits.
template <int kThreads, class T>
__device__ T block_sum(T value, T* shared) {
  return join_warps<kThreads>(warp_sum(value), shared,
                              [](T a, T b) { return a + b; });
}
template <int kThreads, class T>
__device__ T block_max(T value, T* shared) {
  return join_warps<kThreads>(warp_max(value), shared,
                              [](T a, T b) { return fmax(a, b); });
}

// Rows shared by kRow threads each, as launch_rows() of row_launch.h makes
// them: by the warps of blocks, or by a whole block. All threads of a row call
// these.

// The row of this thread; those of a block's last warps may lie beyond the end.
template <int kRow>
__device__ int64_t row_of_thread() {
  return global_thread() / kRow;
}
// Its place among them, from 0.
template <int kRow>
__device__ int place_in_row() {
  return static_cast<int>(threadIdx.x) % kRow;
}
template <int kRow, class T>
__device__ T row_sum(T value) {
  if constexpr (kRow == kWarp) {
    return warp_sum(value);
  } else {
    TIMEPIPE_SHARED(T, warps, kRow / kWarp);
    return block_sum<kRow>(value, warps);
  }
}
template <int kRow, class T>
__device__ T row_max(T value) {
  if constexpr (kRow == kWarp) {
    return warp_max(value);
  } else {
    TIMEPIPE_SHARED(T, warps, kRow / kWarp);
    return block_max<kRow>(value, warps);
  }
}

}  // namespace timepipe::cuda
