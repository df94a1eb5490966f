#pragma once

// For kernels whose sums over rows column_sums.h launches.

#include "kernels/cuda/column_sums.cuh"

namespace timepipe::cuda {

// partials[g, c] = sum of term(n, c) over rows n in [32 g, 32 (g + 1)) below N,
// in order. A warp takes 32 neighbouring columns.  partials: [ceil(N / 32), C]
template <class F>
__device__ void column_partials(int64_t N, int64_t C, F&& term,
                                double* partials) {
  const int64_t warp = global_thread() / kPartialColumns;
  const int64_t tiles = (C + kPartialColumns - 1) / kPartialColumns;
  const int64_t g = warp / tiles;
  const int64_t c =
      warp % tiles * kPartialColumns + threadIdx.x % kPartialColumns;
  const int64_t begin = g * kPartialRows;
  const int64_t end = begin + kPartialRows < N ? begin + kPartialRows : N;
  if (begin >= N || c >= C) return;
  double sum = 0;
  for (int64_t n = begin; n < end; ++n) {
    sum += static_cast<double>(term(n, c));
  }
  partials[g * C + c] = sum;
}

}  // namespace timepipe::cuda
