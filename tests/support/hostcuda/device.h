#pragma once

// CUDA C++ for g++ and clang++: what the sources of kernels may use.

#if defined(__CUDACC__)
#error "hostcuda/device.h is for host compilers"
#endif

// Before the names that it declares become macros here.
#include <cuda_runtime.h>
#include <hostcuda/engine_device.h>
#include <hostcuda/warp.h>
#include <math.h>
#include <vector_functions.h>
#include <vector_types.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#define threadIdx (::hostcuda::current_thread->index)
#define blockIdx (::hostcuda::current_block.index)
#define blockDim (::hostcuda::current_block.block_dim)
#define gridDim (::hostcuda::current_block.grid_dim)
#define warpSize 32

#define __launch_bounds__(...)

// A thread's own variable would pass for shared memory.
#undef __shared__
#define __shared__ \
  _Pragma("GCC error \"TIMEPIPE_SHARED declares shared memory\"")

#define TIMEPIPE_SHARED(T, name, n)      \
  static constexpr char name##_site = 0; \
  T(&name)                               \
  [n] = *static_cast<T(*)[n]>(           \
      ::hostcuda::shared_array(&name##_site, sizeof(T) * (n)))
#define TIMEPIPE_DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(::hostcuda::dynamic_shared())
#define TIMEPIPE_UNROLL
#define TIMEPIPE_ROLLED
#define TIMEPIPE_NOINLINE

namespace hostcuda {

// Which lane a __shfl of one kind reads, in groups of `width` lanes.
inline unsigned lane_of_thread() {
  const uint3& t = current_thread->index;
  const dim3& dim = current_block.block_dim;
  return (t.x + dim.x * (t.y + dim.y * t.z)) % 32;
}

template <class T>
T shuffle_value(T value, unsigned source, unsigned mask, const char* operation,
                const char* file, int line) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  return std::bit_cast<T>(static_cast<Bits>(shuffle(
      std::bit_cast<Bits>(value), source, mask, operation, file, line)));
}

}  // namespace hostcuda

// The place of the call, which messages give.
#define HOSTCUDA_PLACE \
  const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(HOSTCUDA_PLACE) {
  ::hostcuda::block_barrier(file, line);
}
inline void __syncwarp(unsigned mask = 0xffffffff, HOSTCUDA_PLACE) {
  ::hostcuda::warp_barrier(mask, file, line);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              HOSTCUDA_PLACE) {
  const unsigned lane = ::hostcuda::lane_of_thread();
  const unsigned group = lane & ~(static_cast<unsigned>(width) - 1);
  const unsigned from = group + (static_cast<unsigned>(source) &
                                 static_cast<unsigned>(width - 1));
  return ::hostcuda::shuffle_value(value, from, mask, "__shfl_sync", file,
                                   line);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  HOSTCUDA_PLACE) {
  const unsigned lane = ::hostcuda::lane_of_thread();
  const unsigned other = lane ^ static_cast<unsigned>(bits);
  // As the device: lanes of later groups can't be read, those of earlier can.
  const unsigned last = lane | (static_cast<unsigned>(width) - 1);
  return ::hostcuda::shuffle_value(value, other > last ? lane : other, mask,
                                   "__shfl_xor_sync", file, line);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   HOSTCUDA_PLACE) {
  const unsigned lane = ::hostcuda::lane_of_thread();
  const unsigned last = lane | (static_cast<unsigned>(width) - 1);
  return ::hostcuda::shuffle_value(
      value, lane + distance > last ? lane : lane + distance, mask,
      "__shfl_down_sync", file, line);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 HOSTCUDA_PLACE) {
  const unsigned lane = ::hostcuda::lane_of_thread();
  const unsigned first = lane & ~(static_cast<unsigned>(width) - 1);
  return ::hostcuda::shuffle_value(
      value, lane < first + distance ? lane : lane - distance, mask,
      "__shfl_up_sync", file, line);
}

#undef HOSTCUDA_PLACE

// Relaxed, as on the device. Only where any order gives the same: no float.
inline int atomicAdd(int* to, int value) {
  return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
inline unsigned atomicAdd(unsigned* to, unsigned value) {
  return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
inline unsigned long long atomicAdd(unsigned long long* to,
                                    unsigned long long value) {
  return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) {
  return std::bit_cast<long long>(x);
}
inline double __longlong_as_double(long long x) {
  return std::bit_cast<double>(x);
}

// To nearest, ties to even; beyond the range the nearest end, NaN the lowest.
inline long long __double2ll_rn(double x) {
  using Limits = std::numeric_limits<long long>;
  if (x >= 0x1p63) return Limits::max();
  if (!(x >= -0x1p63)) return Limits::min();
  return llrint(x);
}

// Operations that are not contracted with others.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }

using std::max;
using std::min;
