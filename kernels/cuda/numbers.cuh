#pragma once

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// What atomicAdd takes; the bits of an i64.
using Counter = unsigned long long;

// An infinity or NaN less itself is NaN.
template <class T>
__device__ bool is_finite(T x) {
  return x - x == T(0);
}

}  // namespace timepipe::cuda
