#pragma once

// Launches the kernels of column_sums.cuh: gradients of weights, which sum over
// all rows of a chunk.

#include "kernels/cuda/column_sums.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/write.h"

namespace timepipe::cuda {

// out[c] = (out[c] +) the sum of partials[g, c] over g, in f64 and in an order
// that the number of rows fixes.  partials: [G,C], f64; out: C elements
template <class T>
void add_partials(Context& ctx, const Tensor& partials, T* out, Write write) {
  const int64_t G = partials.dim(0), C = partials.dim(1);
  launch<&add_partials_kernel<T>>(
      ctx, (C + kPartialColumns - 1) / kPartialColumns, kThreads, G, C,
      device_elements<double>(partials), out, write == Write::kAdd);
}

// out[c] = (out[c] +) the sum over N rows of the terms of column c, whose
// partial sums Partials(N, C, args..., partials) writes: a kernel that calls
// column_partials() (column_partials.cuh).
template <auto Partials, class T, class... A>
void column_sums(Context& ctx, int64_t N, int64_t C, T* out, Write write,
                 A... args) {
  const int64_t G = (N + kPartialRows - 1) / kPartialRows;
  const int64_t tiles = (C + kPartialColumns - 1) / kPartialColumns;
  Tensor partials = ctx.allocate({G, C}, DType::kF64);
  launch<Partials>(ctx, (G * tiles * kPartialColumns + kThreads - 1) / kThreads,
                   kThreads, N, C, args..., device_elements<double>(partials));
  add_partials(ctx, std::as_const(partials), out, write);
}

}  // namespace timepipe::cuda
