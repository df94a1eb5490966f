#pragma once

// What the sources of kernels (.cu) are written in: CUDA C++ and the few macros
// below. With TIMEPIPE_HOST_CUDA the same sources run on the CPU, in the tests'
// layer (tests/support/hostcuda). Kept small: nvcc reads it for every file.

#include <cstdint>

#include "runtime/bf16.h"

#ifdef TIMEPIPE_HOST_CUDA
#include <hostcuda/device.h>
#else
#include <cuda_runtime.h>

// An array of n elements that the threads of a block share.
#define TIMEPIPE_SHARED(T, name, n) __shared__ T name[n]
// The shared memory that the launch asked for.
#define TIMEPIPE_DYNAMIC_SHARED(T, name)                          \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared)
#define TIMEPIPE_UNROLL _Pragma("unroll")
// Before a device function whose code is to exist once.
#define TIMEPIPE_NOINLINE __noinline__
// Before a loop that is to stay one: its code is long, or seldom run.
#define TIMEPIPE_ROLLED _Pragma("unroll 1")
#endif

// Device code can stand here: not in launch code (.cc), which the host's
// compiler reads and which needs the declarations of kernels alone.
#if defined(__CUDACC__) || defined(TIMEPIPE_HOST_CUDA)
#define TIMEPIPE_DEVICE_CODE
#endif

namespace timepipe::cuda {

// What elements of a type are computed with: f32 beside bf16, else the same
// type (runtime/tensor.h's Wide).
template <class A>
struct WideOf {
  using Type = A;
};
template <>
struct WideOf<bf16> {
  using Type = float;
};
template <class A>
using Computed = typename WideOf<A>::Type;

#ifdef TIMEPIPE_DEVICE_CODE

__device__ inline float widen(bf16 x) {
  return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
}
__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }

// `value` as elements of A are stored: in bf16 the nearest, ties to even; a NaN
// stays one (runtime/bf16.h).
template <class A>
__device__ inline A stored(Computed<A> value) {
  return value;
}
template <>
__device__ inline bf16 stored<bf16>(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const unsigned nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  bf16 x;
  x.bits = static_cast<uint16_t>(is_nan ? bits >> 16 | 0x40u : nearest);
  return x;
}

// Whether an output is overwritten or added to: y = put(y, value, adds).
template <class T>
__device__ inline void put(T& out, T value, bool adds) {
  out = adds ? out + value : value;
}

// For loops over more elements than threads.
__device__ inline int64_t global_thread() {
  return int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ inline int64_t global_threads() {
  return int64_t{gridDim.x} * blockDim.x;
}

#endif  // TIMEPIPE_DEVICE_CODE

}  // namespace timepipe::cuda
