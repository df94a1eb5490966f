#pragma once

// One warp, one operation: row-major matrices in, row-major matrices out.

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

// C[16, 8] += A[16, 16] B[16, 8].
__global__ void multiply_bf16(float* C, const bf16* A, const bf16* B);
// C[16, 8] += A[16, 8] B[8, 8]; the operands are not rounded before.
__global__ void multiply_tf32(float* C, const float* A, const float* B);
// out[lane][m] from four matrices [8, 8] in rows of 16 bytes.
__global__ void load(uint32_t* out, const bf16* matrices, bool transposes);
// out[16 i]: what a copy of 16 bytes from in[16 i] leaves, or of none.
__global__ void copy_in_groups(unsigned char* out, const unsigned char* in,
                               bool is_there);

}  // namespace timepipe::cuda
