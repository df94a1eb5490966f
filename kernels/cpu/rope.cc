// Rotary position embedding on host memory, from a table of the angles.

#include "kernels/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// Cosine and sine of each pair's angle at each position: [rows, D/2, 2].
template <class T>
void fill_table(int64_t rows, int64_t D, double theta, double sign, T* table) {
  for (int64_t i = 0; i < D / 2; ++i) {
    const double rate =
        std::pow(theta, -2 * static_cast<double>(i) / static_cast<double>(D));
    for (int64_t row = 0; row < rows; ++row) {
      const double angle = static_cast<double>(row) * rate;
      T* pair = table + row * D + 2 * i;
      pair[0] = static_cast<T>(std::cos(angle));
      pair[1] = static_cast<T>(sign * std::sin(angle));
    }
  }
}

template <class T, class A>
void rotate(int64_t D, const T* table, A* x) {
  for (int64_t i = 0; i < D; i += 2) {
    const T even = x[i], odd = x[i + 1];
    x[i] = static_cast<A>(even * table[i] - odd * table[i + 1]);
    x[i + 1] = static_cast<A>(odd * table[i] + even * table[i + 1]);
  }
}

}  // namespace

void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place) {
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t rows = x.dim(0), D = x.dim(1) / heads;
    const int64_t positions = std::min(place + rows, mini_batch);
    Tensor table = ctx.allocate({positions, D}, dtype_of<T>());
    T* angles = elements<T>(table);
    A* data = elements<A>(x);
    fill_table(positions, D, theta, rotation == Rotation::kForward ? 1 : -1,
               angles);
    parallel_for(rows, [=](int64_t row) {
      for (int64_t h = 0; h < heads; ++h) {
        rotate(D, angles + (place + row) % mini_batch * D,
               data + (row * heads + h) * D);
      }
    });
  });
}

}  // namespace timepipe::cpu
