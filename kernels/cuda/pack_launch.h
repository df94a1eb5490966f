#pragma once

// Launches kernels that take packs of elements (pack.cuh).

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace timepipe::cuda {

inline constexpr int kPack = 4;

// Packed(n, elements...), which takes kPack elements at a time, or where the
// number or a place in memory doesn't allow that Single(n, elements...). `n`
// elements begin at each pointer.
template <auto Packed, auto Single, class... A>
void launch_packs(Context& ctx, int64_t n, A*... elements) {
  const bool fits =
      n % kPack == 0 &&
      (... &&
       (reinterpret_cast<uintptr_t>(elements) % (kPack * sizeof(A)) == 0));
  if (fits) {
    launch<Packed>(ctx, blocks_for(n, kThreads * kPack), kThreads, n,
                   elements...);
  } else {
    launch<Single>(ctx, blocks_for(n), kThreads, n, elements...);
  }
}

}  // namespace timepipe::cuda
