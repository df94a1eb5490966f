#pragma once

// Tensor cores, and copies beside the computation: the PTX that CUDA C++ has no
// words for, all of it in compute capability 8.0. Fragments are those of PTX
// (mma.m16n8k16, mma.m16n8k8): with g = lane / 4 and t = lane % 4,
//   C: rows g (c[0], c[1]) and g + 8 (c[2], c[3]), columns 2t and 2t + 1;
//   A: a[0], a[2] of row g, a[1], a[3] of row g + 8; B: of column g;
//   bf16: a[0], a[1], b0 hold k = 2t and 2t + 1, a[2], a[3], b1 eight later;
//   TF32: a[0], a[1], b0 hold k = t, a[2], a[3], b1 four later.
// The accumulator truncates: a long sum drifts (keep it in a tile that starts
// at zero, and add the tile).

#include "kernels/cuda/device.h"
#ifdef TIMEPIPE_HOST_CUDA
#include <hostcuda/cp_async.h>
#include <hostcuda/mma.h>
#endif

namespace timepipe::cuda {

// Two elements in one register, each rounded to bf16; `low` is the first.
__device__ inline uint32_t pack_bf16(float low, float high) {
  return stored<bf16>(low).bits | uint32_t{stored<bf16>(high).bits} << 16;
}

#ifndef TIMEPIPE_HOST_CUDA

// C[16, 8] += A[16, 16] B[16, 8] of bf16.
__device__ inline void mma_bf16(float (&c)[4], const uint32_t (&a)[4],
                                uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// C[16, 8] += A[16, 8] B[8, 8] of TF32.
__device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4],
                                uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The nearest TF32 (an f32 without its last 13 bits), ties away from zero.
__device__ inline uint32_t round_to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

__device__ inline uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Four matrices of 8 x 8 bf16 from shared memory: lane l gives the address of
// the row l % 8 of matrix l / 8, 16 bytes, and gets of matrix m, in r[m], the
// elements 2t and 2t + 1 of row g.
__device__ inline void ldmatrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same of the transposed matrices.
__device__ inline void ldmatrix_trans(uint32_t (&r)[4], const void* row) {
  asm volatile(
      "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
      : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
      : "r"(shared_address(row))
      : "memory");
}

// Copies 16 bytes (aligned to 16) to shared memory while the thread goes on, or
// zeros if the source is not there. They belong to the group that the next
// commit closes; cp_async_wait<n> waits for all groups but the last n, and only
// for the copies of the thread itself.
__device__ inline void cp_async16(void* shared, const void* global,
                                  bool is_there = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                   shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(is_there ? 16 : 0)
               : "memory");
}
__device__ inline void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

#else

using hostcuda::mma_bf16;
using hostcuda::mma_tf32;

// As cvt.rna: ties away from zero.
inline uint32_t round_to_tf32(float x) {
  if (isnan(x)) return 0x7fffffff;
  return (__float_as_uint(x) + 0x1000) & 0xffffe000;
}

// Each lane reads its row itself, so that the sanitizers see who reads what.
inline void read_row(uint32_t (&row)[4], const void* p) {
  const hostcuda::CopyValue value = hostcuda::read_copy(p, 16);
  row[0] = static_cast<uint32_t>(value.low);
  row[1] = static_cast<uint32_t>(value.low >> 32);
  row[2] = static_cast<uint32_t>(value.high);
  row[3] = static_cast<uint32_t>(value.high >> 32);
}
inline void ldmatrix(uint32_t (&r)[4], const void* row,
                     const char* file = __builtin_FILE(),
                     int line = __builtin_LINE()) {
  uint32_t elements[4];
  read_row(elements, row);
  hostcuda::load_matrices(r, elements, false, file, line);
}
inline void ldmatrix_trans(uint32_t (&r)[4], const void* row,
                           const char* file = __builtin_FILE(),
                           int line = __builtin_LINE()) {
  uint32_t elements[4];
  read_row(elements, row);
  hostcuda::load_matrices(r, elements, true, file, line);
}

inline void cp_async16(void* shared, const void* global, bool is_there = true) {
  hostcuda::begin_copy(shared, global, is_there ? 16 : 0);
}
inline void cp_async_commit() { hostcuda::cp_async_commit(); }
template <int kPending>
void cp_async_wait() {
  hostcuda::finish_copies<kPending>();
}

#endif

}  // namespace timepipe::cuda
