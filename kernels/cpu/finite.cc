// Looks for numbers that aren't finite, on host memory.

#include "kernels/finite.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {

bool all_finite(Context&, const Tensor& x) {
  constexpr int64_t kPiece = 1 << 16;
  std::atomic<bool> all = true;
  dispatch(x.dtype(), [&](auto zero) {
    const auto* v = elements<decltype(zero)>(x);
    parallel_pieces(x.numel(), kPiece, [&](int64_t begin, int64_t end) {
      if (!std::all_of(v + begin, v + end,
                       [](auto number) { return std::isfinite(number); })) {
        all = false;
      }
    });
  });
  return all;
}

}  // namespace timepipe::cpu
