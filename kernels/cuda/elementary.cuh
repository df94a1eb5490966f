#pragma once

// Functions of one number.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

template <class T>
__device__ T sigmoid(T x) {
  return 1 / (1 + exp(-x));
}

}  // namespace timepipe::cuda
