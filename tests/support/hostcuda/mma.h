#pragma once

// Products of a warp's tiles as tensor cores make them, on the CPU. All 32
// lanes take part. Fragments are those of PTX: lane l has rows l/4 and l/4 + 8
// of A and C, column l/4 of B.

#include <cstdint>

namespace hostcuda {

// The accumulator's: the exact products and c are cut toward zero, so many bits
// below the largest one's exponent, then added, and the sum is cut to f32.
inline constexpr int kMmaFractionBits = 25;

// C[16,8] += A[16,16] B[16,8] of bf16: mma.sync.m16n8k16.
void mma_bf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
              const char* file = __builtin_FILE(), int line = __builtin_LINE());

// C[16,8] += A[16,8] B[8,8] of f32 without the last 13 bits: m16n8k8.
void mma_tf32(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
              const char* file = __builtin_FILE(), int line = __builtin_LINE());

// ldmatrix.x4: lane l reads the 16 bytes at `row`, a row of eight elements of
// matrix l/8, and gets two elements of each of the four matrices.
void load_matrices(uint32_t (&r)[4], const uint32_t (&row)[4], bool transposes,
                   const char* file, int line);

}  // namespace hostcuda
