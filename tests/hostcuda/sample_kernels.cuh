#pragma once

// Kernels of the kinds that the product has, for tests of the layer.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// y[n] = x[n] / sqrt(mean(x[n]^2) + 1e-5), a row of C values for each block.
__global__ void rms_norm(float* y, const float* x, int64_t C);

// Whole grid strides over x; partial[block]: its sum; *count: of elements.
__global__ void grid_sum(float* partial, unsigned long long* count,
                         const float* x, int64_t n);

// What is wrong with a product.
enum class GemmDefect { kNone, kWaitsForTooFew, kNoBarrierAtLoopEnd };

// C[M, N] = A[M, K] B[K, N] with N a multiple of 8 and K of 16; a block of 128
// threads for each tile of 32 x 32, grid (N / 32, M / 32), rounded up, as
// one-dimensional.
template <GemmDefect kDefect>
__global__ void gemm(float* C, const bf16* A, const bf16* B, int M, int N,
                     int K);

}  // namespace timepipe::cuda
