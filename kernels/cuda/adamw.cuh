#pragma once

#include "kernels/cuda/device.h"
#include "kernels/cuda/step_verdict.cuh"

namespace timepipe::cuda {

// The constants of one step: beta, 1 - beta and the bias corrections of both
// moments.
template <class T>
struct AdamWStep {
  T lr, beta1, beta2, rest1, rest2, bias1, bias2, eps, decay;
};

// All [n].
template <class T>
__global__ void adamw_kernel(AdamWStep<T> step, const Verdict* verdict,
                             const T* gradient, int64_t n, T* m, T* v, T* p);

}  // namespace timepipe::cuda
