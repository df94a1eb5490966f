#pragma once

// Launches kernels in which kRow threads share a row (reduce.cuh).

#include <algorithm>
#include <type_traits>

#include "kernels/cuda/launch.h"

namespace timepipe::cuda {

// What a row of so many columns is shared by.
inline constexpr int kWarpRow = 32, kBlockRow = 256;
inline constexpr int64_t kColumnsOfWarp = 1024;

// Kernel(rows, args...) with kRow threads for each row.
template <auto Kernel, int kRow, class... A>
void launch_rows(Context& ctx, int64_t rows, A... args) {
  constexpr int kBlock = std::max(kRow, kThreads), kPerBlock = kBlock / kRow;
  launch<Kernel>(ctx, (rows + kPerBlock - 1) / kPerBlock, kBlock, rows,
                 args...);
}

// Calls f with the number of threads for a row of C columns, which alone
// decides: how a row is summed doesn't depend on the others.
//   dispatch_row(C, [&](auto row) { constexpr int kRow = row(); ... });
template <int kWide = kBlockRow, class F>
void dispatch_row(int64_t C, F&& f) {
  if (C <= kColumnsOfWarp) {
    f(std::integral_constant<int, kWarpRow>{});
  } else {
    f(std::integral_constant<int, kWide>{});
  }
}

}  // namespace timepipe::cuda
