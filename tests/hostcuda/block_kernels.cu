#include "kernels/cuda/reduce.cuh"
#include "tests/hostcuda/block_kernels.cuh"

namespace timepipe::cuda {

namespace {

__device__ unsigned block_thread() {
  return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
}

__device__ unsigned grid_block() {
  return blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
}

// A declaration that two functions reach is one array.
__device__ int* shared_flags() {
  TIMEPIPE_SHARED(int, flags, 3);
  return flags;
}
__device__ int* shared_flags_again() { return shared_flags(); }

}  // namespace

__global__ void see(Seen* seen) {
  Seen& s = seen[grid_block() * blockDim.x * blockDim.y * blockDim.z +
                 block_thread()];
  ++s.calls;
  s.thread = threadIdx;
  s.block = blockIdx;
  s.block_dim = blockDim;
  s.grid_dim = gridDim;
}

__global__ void count_at_barriers(int* wrong, int rounds) {
  TIMEPIPE_SHARED(unsigned, arrived, 1);
  if (threadIdx.x == 0) arrived[0] = 0;
  for (int round = 0; round < rounds; ++round) {
    __syncthreads();
    atomicAdd(arrived, 1u);
    __syncthreads();
    if (arrived[0] != (round + 1) * blockDim.x) atomicAdd(wrong, 1);
  }
}

template <class T>
__global__ void use_shared(int* wrong, int dynamic) {
  TIMEPIPE_SHARED(T, values, 5);
  TIMEPIPE_DYNAMIC_SHARED(T, others);
  static_assert(sizeof(values) == 5 * sizeof(T));
  int* const flags = shared_flags();
  int mine = 0;
  if (threadIdx.x == 0) {
    for (T v : values) mine += v == v;
    for (int i = 0; i < dynamic; ++i) mine += others[i] == others[i];
    for (int i = 0; i < 3; ++i) mine += flags[i] != -1;
    for (T& v : values) v = 1;
    for (int i = 0; i < dynamic; ++i) others[i] = 2;
    for (int i = 0; i < 3; ++i) flags[i] = 3;
    mine += reinterpret_cast<uintptr_t>(values) % 16 != 0;
    mine += reinterpret_cast<uintptr_t>(others) % 16 != 0;
  }
  __syncthreads();
  mine += shared_flags_again() != flags;
  for (T v : values) mine += v != 1;
  for (int i = 0; i < dynamic; ++i) mine += others[i] != 2;
  for (int i = 0; i < 3; ++i) mine += flags[i] != 3;
  atomicAdd(wrong, mine);
}

template <class T>
__global__ void shuffle_values(T* out, const T* value) {
  const unsigned n = blockDim.x, t = threadIdx.x;
  const T mine = value[t];
  out[0 * n + t] = __shfl_sync(kWholeWarp, mine, static_cast<int>(t * 7 % 32));
  out[1 * n + t] = __shfl_sync(kWholeWarp, mine, 9, 8);
  out[2 * n + t] = __shfl_xor_sync(kWholeWarp, mine, 5);
  out[3 * n + t] = __shfl_down_sync(kWholeWarp, mine, 3);
  out[4 * n + t] = __shfl_down_sync(kWholeWarp, mine, 3, 8);
  out[5 * n + t] = __shfl_up_sync(kWholeWarp, mine, 3);
  out[6 * n + t] = __shfl_up_sync(kWholeWarp, mine, 3, 8);
}

__global__ void shuffle_in_halves(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  int value = t;
  if (t < 16) {
    for (int i = 0; i < 5; ++i) {
      value = __shfl_xor_sync(0x0000ffffu, value, 1) + 1;
    }
  } else {
    value = __shfl_xor_sync(0xffff0000u, value, 2) + 100;
  }
  out[t] = __shfl_xor_sync(kWholeWarp, value, 16);
}

template <class T>
__global__ void reduce(T* out, const T* value) {
  const unsigned n = blockDim.x, t = threadIdx.x;
  T sum = value[t], largest = sum;
  out[t] = warp_sum(sum);
  out[2 * n + t] = warp_max(largest);
  for (int apart = 16; apart > 0; apart /= 2) {
    sum += __shfl_xor_sync(kWholeWarp, sum, apart);
    largest = fmax(largest, __shfl_xor_sync(kWholeWarp, largest, apart));
  }
  out[n + t] = sum;
  out[3 * n + t] = largest;
}

__global__ void pass_through_shared(int* out, int rounds) {
  TIMEPIPE_SHARED(int, place, 64);
  const unsigned first = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
  int value = static_cast<int>(threadIdx.x);
  for (int i = 0; i < rounds; ++i) {
    place[threadIdx.x] = value;
    __syncwarp();
    value = place[first + (lane + 1) % 32];
    __syncwarp();
  }
  out[threadIdx.x] = value;
}

template __global__ void use_shared<float>(int*, int);
template __global__ void use_shared<double>(int*, int);
template __global__ void shuffle_values<int>(int*, const int*);
template __global__ void shuffle_values<unsigned>(unsigned*, const unsigned*);
template __global__ void shuffle_values<int64_t>(int64_t*, const int64_t*);
template __global__ void shuffle_values<float>(float*, const float*);
template __global__ void shuffle_values<double>(double*, const double*);
template __global__ void reduce<float>(float*, const float*);
template __global__ void reduce<double>(double*, const double*);

}  // namespace timepipe::cuda
