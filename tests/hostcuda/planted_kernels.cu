#include "kernels/cuda/mma.h"
#include "kernels/cuda/reduce.cuh"
#include "tests/hostcuda/planted_kernels.cuh"

namespace timepipe::cuda {

template <bool kPlanted>
__global__ void no_barrier_after_write(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 128);
  const unsigned t = threadIdx.x;
  shared[t] = in[global_thread()];
  if (!kPlanted) __syncthreads();
  out[global_thread()] = shared[(t + 32) % blockDim.x];
}

template <bool kPlanted>
__global__ void no_barrier_before_reuse(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 128);
  const unsigned t = threadIdx.x;
  float sum = 0;
  for (int round = 0; round < 2; ++round) {
    shared[t] = in[global_thread()] + static_cast<float>(round);
    __syncthreads();
    sum += shared[(t + 32) % blockDim.x];
    if (!kPlanted) __syncthreads();
  }
  out[global_thread()] = sum;
}

template <bool kPlanted>
__global__ void no_warp_barrier(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 128);
  const unsigned t = threadIdx.x;
  shared[t] = in[global_thread()];
  if (!kPlanted) __syncwarp();
  out[global_thread()] = shared[t ^ 1];
}

__global__ void blocks_write_one_place(float* out, const float* in) {
  if (threadIdx.x == 0) out[0] = in[global_thread()];
}

__global__ void blocks_add_without_atomic(int* out) {
  if (threadIdx.x == 0) ++out[0];
}

__global__ void write_past_static(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 128);
  float* const place = shared;
  place[threadIdx.x + 1] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = place[threadIdx.x + 1];
}

__global__ void read_past_static(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 128);
  const float* const place = shared;
  shared[threadIdx.x] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = place[threadIdx.x + 1];
}

__global__ void write_past_dynamic(float* out, const float* in) {
  TIMEPIPE_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x + 1] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = shared[threadIdx.x + 1];
}

__global__ void read_past_dynamic(float* out, const float* in) {
  TIMEPIPE_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x] = in[global_thread()];
  __syncthreads();
  out[global_thread()] = shared[threadIdx.x + 1];
}

__global__ void write_past_global(float* out, const float* in) {
  out[global_thread() + 1] = in[global_thread()];
}

__global__ void read_past_global(float* out, const float* in) {
  out[global_thread()] = in[global_thread() + 1];
}

__global__ void exit_before_barrier() {
  if (threadIdx.x == 3) return;
  __syncthreads();
}

__global__ void barriers_in_both_branches() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void barrier_in_half_a_warp() {
  if (threadIdx.x % 32 < 16) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

__global__ void exit_before_shuffle(float* out) {
  if (threadIdx.x == 3) return;
  out[threadIdx.x] = __shfl_xor_sync(kWholeWarp, out[threadIdx.x], 1);
}

__global__ void shuffle_without_caller_in_mask(float* out) {
  out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, out[threadIdx.x], 1);
}

__global__ void shuffle_from_lane_outside_mask(float* out) {
  if (threadIdx.x >= 16) return;
  out[threadIdx.x] = __shfl_sync(0x0000ffffu, out[threadIdx.x], 20);
}

__global__ void shuffles_of_different_places(float* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_xor_sync(kWholeWarp, out[threadIdx.x], 1);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(kWholeWarp, out[threadIdx.x], 2);
  }
}

__global__ void exit_while_warp_waits(float* out) {
  if (threadIdx.x == 31) return;
  out[threadIdx.x] = warp_sum(out[threadIdx.x]);
}

__global__ void exit_before_copies_are_there(float* out, const float* in) {
  TIMEPIPE_SHARED(float, shared, 4 * 128);
  cp_async16(shared + 4 * threadIdx.x, in);
  cp_async_commit();
  cp_async_wait<1>();
  out[threadIdx.x] = 0;
}

__global__ void copy_to_odd_place(const float* in) {
  TIMEPIPE_SHARED(float, shared, 8);
  cp_async16(shared + 1, in);
  cp_async_commit();
  cp_async_wait<0>();
}

__global__ void too_much_static_memory(float* out) {
  TIMEPIPE_SHARED(float, some, 6 << 10);
  TIMEPIPE_SHARED(float, more, (6 << 10) + 1);
  out[threadIdx.x] = some[0] + more[0];
}

template __global__ void no_barrier_after_write<true>(float*, const float*);
template __global__ void no_barrier_after_write<false>(float*, const float*);
template __global__ void no_barrier_before_reuse<true>(float*, const float*);
template __global__ void no_barrier_before_reuse<false>(float*, const float*);
template __global__ void no_warp_barrier<true>(float*, const float*);
template __global__ void no_warp_barrier<false>(float*, const float*);

}  // namespace timepipe::cuda
