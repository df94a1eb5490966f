#include "kernels/cuda/mma.h"
#include "kernels/cuda/reduce.cuh"
#include "tests/hostcuda/sample_kernels.cuh"

namespace timepipe::cuda {

__global__ void rms_norm(float* y, const float* x, int64_t C) {
  TIMEPIPE_SHARED(float, sums, 4);
  TIMEPIPE_DYNAMIC_SHARED(float, row);
  const int64_t n = blockIdx.x;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    row[c] = x[n * C + c];
    sum += row[c] * row[c];
  }
  sum = block_sum<128>(sum, sums);
  const float scale = rsqrtf(sum / static_cast<float>(C) + 1e-5f);
  for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
    y[n * C + c] = row[c] * scale;
  }
}

__global__ void grid_sum(float* partial, unsigned long long* count,
                         const float* x, int64_t n) {
  TIMEPIPE_SHARED(float, sums, 8);
  float sum = 0;
  unsigned long long mine = 0;
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    sum += x[i];
    ++mine;
  }
  atomicAdd(count, mine);
  sum = block_sum<256>(sum, sums);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

namespace {

constexpr int kTile = 32, kDepth = 16;
constexpr int kRowA = kDepth + 8, kRowB = kTile + 8;  // With padding.

// Step `k` of the tiles of A and B: 16 bytes for each thread.
__device__ void load_tiles(bf16* a, bf16* b, const bf16* A, const bf16* B,
                           int M, int N, int K, int row, int column, int k) {
  const int i = static_cast<int>(threadIdx.x) % 64;
  if (threadIdx.x < 64) {
    const int m = row + i / 2, at = kDepth * k + 8 * (i % 2);
    cp_async16(a + i / 2 * kRowA + 8 * (i % 2), A + int64_t{m} * K + at, m < M);
  } else {
    const int n = column + 8 * (i % 4), at = kDepth * k + i / 4;
    cp_async16(b + i / 4 * kRowB + 8 * (i % 4), B + int64_t{at} * N + n, n < N);
  }
}

}  // namespace

template <GemmDefect kDefect>
__global__ void gemm(float* C, const bf16* A, const bf16* B, int M, int N,
                     int K) {
  TIMEPIPE_SHARED(bf16, a, 2 * kTile * kRowA);
  TIMEPIPE_SHARED(bf16, b, 2 * kDepth * kRowB);
  const int columns = (N + kTile - 1) / kTile;
  const int row = static_cast<int>(blockIdx.x) / columns * kTile;
  const int column = static_cast<int>(blockIdx.x) % columns * kTile;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int m = 16 * (warp / 2), n = 16 * (warp % 2);  // Of the warp's tiles.
  float c[2][4] = {};
  const int steps = K / kDepth;
  const auto load = [&](int k) {
    if (k < steps) {
      load_tiles(a + k % 2 * kTile * kRowA, b + k % 2 * kDepth * kRowB, A, B, M,
                 N, K, row, column, k);
    }
    cp_async_commit();
  };
  load(0);
  for (int k = 0; k < steps; ++k) {
    load(k + 1);
    cp_async_wait<kDefect == GemmDefect::kWaitsForTooFew ? 2 : 1>();
    __syncthreads();
    // Matrices of 8 x 8: two below each other, and the two to their right.
    const int i = lane % 16, j = lane / 16 * 8;
    uint32_t af[4], bf[4];
    ldmatrix(af, a + (k % 2 * kTile + m + i) * kRowA + j);
    ldmatrix_trans(bf, b + (k % 2 * kDepth + i) * kRowB + n + j);
    mma_bf16(c[0], af, bf[0], bf[1]);
    mma_bf16(c[1], af, bf[2], bf[3]);
    if (kDefect != GemmDefect::kNoBarrierAtLoopEnd) __syncthreads();
  }
  cp_async_wait<0>();
  for (int tile = 0; tile < 2; ++tile) {
    for (int e = 0; e < 4; ++e) {
      const int y = row + m + lane / 4 + 8 * (e / 2);
      const int x = column + n + 8 * tile + 2 * (lane % 4) + e % 2;
      if (y < M && x < N) C[int64_t{y} * N + x] = c[tile][e];
    }
  }
}

template __global__ void gemm<GemmDefect::kNone>(  //
    float*, const bf16*, const bf16*, int, int, int);
template __global__ void gemm<GemmDefect::kWaitsForTooFew>(  //
    float*, const bf16*, const bf16*, int, int, int);
template __global__ void gemm<GemmDefect::kNoBarrierAtLoopEnd>(  //
    float*, const bf16*, const bf16*, int, int, int);

}  // namespace timepipe::cuda
