// Rounds gradients to integers, adds those and makes numbers of them again, on
// host memory.

#include "kernels/gradient_sum.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

constexpr int64_t kPiece = 16384;

// Adds x, which is below the limit, to an element whose second word is `plane`
// words behind the first. The products are exact: powers of two.
inline void add_to(int64_t* word, int64_t /*plane*/, float x) {
  word[0] += std::llrint(static_cast<double>(x) * 0x1p52);
}

inline void add_to(int64_t* word, int64_t plane, double x) {
  const int64_t hi = std::llrint(x * 0x1p40);
  word[0] += hi;
  word[plane] += std::llrint((x - static_cast<double>(hi) * 0x1p-40) * 0x1p88);
}

// Returns how many elements were refused.
template <class T>
int64_t add_elements(const T* x, int64_t n, double limit, int64_t* words,
                     int64_t plane) {
  std::vector<int64_t> refused((n + kPiece - 1) / kPiece);
  parallel_pieces(n, kPiece, [&](int64_t begin, int64_t end) {
    int64_t count = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (std::abs(x[i]) < limit) {  // false for NaN
        add_to(words + i, plane, x[i]);
      } else {
        ++count;
      }
    }
    refused[begin / kPiece] = count;
  });
  return std::accumulate(refused.begin(), refused.end(), int64_t{0});
}

}  // namespace

void gradient_sum_add(Context&, const Tensor& gradient, double limit,
                      int64_t offset, Tensor& words, Tensor& refused) {
  dispatch(gradient.dtype(), [&](auto zero) {
    using T = decltype(zero);
    *elements<int64_t>(refused) +=
        add_elements(elements<T>(gradient), gradient.numel(), limit,
                     elements<int64_t>(words) + offset, words.dim(1));
  });
}

void gradient_sum_values(Context&, const Tensor& words, int64_t offset,
                         Tensor& values) {
  const int64_t* word = elements<int64_t>(words) + offset;
  const int64_t plane = words.dim(1);
  dispatch(values.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* x = elements<T>(values);
    parallel_pieces(values.numel(), kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto first = static_cast<double>(word[i]);
        if constexpr (sizeof(T) == sizeof(float)) {
          x[i] = static_cast<T>(first * 0x1p-52);
        } else {
          const auto second = static_cast<double>(word[plane + i]);
          x[i] = static_cast<T>(first * 0x1p-40 + second * 0x1p-88);
        }
      }
    });
  });
}

}  // namespace timepipe::cpu
