// Rounds gradients to integers, adds those and makes numbers of them again.

#include "runtime/gradient_sum.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>

#include "runtime/parallel_for.h"

namespace timepipe {
namespace {

constexpr int64_t kPiece = ParameterBlock::kElements;

// The sum of N addends below 2^11/N = 2^63/N units of 2^-52 can't wrap, unless
// they are rounded up to that. They aren't while it is 2^24 or more: the f32
// numbers next below are integers.
constexpr int64_t kMaxAddendsF32 = int64_t{1} << 39;
// The rest after hi is up to 2^-41, so lo is up to 2^47 units of 2^-88 per
// addend, whatever its size: 2^15 of them reach 2^62.
constexpr int64_t kMaxAddendsF64 = int64_t{1} << 15;

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

GradientSum::GradientSum(Context& ctx, const ParameterLayout& layout,
                         DType dtype)
    : layout_(layout), dtype_(dtype) {
  require(dtype == DType::kF32 || dtype == DType::kF64,
          std::string("gradient sum: dtype ") + name_of(dtype) +
              ", expected f32 or f64");
  words_ = ctx.zeros({words_per_element(), layout.numel()}, DType::kI64,
                     MemoryUse::kParameters);
}

void GradientSum::start(int64_t max_addends) {
  const int64_t most = dtype_ == DType::kF32 ? kMaxAddendsF32 : kMaxAddendsF64;
  require(1 <= max_addends && max_addends <= most,
          "max_addends: " + std::to_string(max_addends) + ", expected 1 to " +
              std::to_string(most) + " (sequence, chunk) pairs in a step of " +
              name_of(dtype_));
  limit_ = 0x1p11 / static_cast<double>(
                        std::bit_ceil(static_cast<uint64_t>(max_addends)));
  num_refused_ = 0;
  int64_t* words = words_.data<int64_t>();
  parallel_pieces(words_.numel(), kPiece, [&](int64_t begin, int64_t end) {
    std::fill(words + begin, words + end, 0);
  });
}

void GradientSum::add(int64_t parameter, const Tensor& gradient) {
  require(limit_ > 0, "gradient sum: add() before start()");
  const Parameter& p = layout_.parameters().at(parameter);
  const std::string name = "gradient of " + p.name;
  require_shape(name.c_str(), gradient, p.shape);
  require(gradient.dtype() == dtype_, name + ": dtype " +
                                          name_of(gradient.dtype()) +
                                          ", expected " + name_of(dtype_));
  dispatch(dtype_, [&](auto zero) {
    using T = decltype(zero);
    num_refused_ +=
        add_elements(gradient.data<T>(), p.count, limit_,
                     words_.data<int64_t>() + p.offset, layout_.numel());
  });
}

std::span<const int64_t> GradientSum::plane(int word) const {
  require(0 <= word && word < words_per_element(),
          "plane " + std::to_string(word) + " of " +
              std::to_string(words_per_element()));
  const int64_t numel = layout_.numel();
  return {words_.data<int64_t>() + word * numel,
          static_cast<std::size_t>(numel)};
}

void GradientSum::to_values(DType dtype,
                            std::span<const std::span<const int64_t>> planes,
                            Tensor& values) {
  const std::size_t words = dtype == DType::kF32 ? 1 : 2;
  require(planes.size() == words, "planes: " + std::to_string(planes.size()) +
                                      ", expected " + std::to_string(words) +
                                      " for " + name_of(dtype));
  for (const auto& plane : planes) {
    require_shape("values", values, {static_cast<int64_t>(plane.size())});
  }
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* x = values.data<T>();
    parallel_pieces(values.numel(), kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const auto word = [&](int w) {
          return static_cast<double>(planes[w][i]);
        };
        x[i] = words == 1
                   ? static_cast<T>(word(0) * 0x1p-52)
                   : static_cast<T>(word(0) * 0x1p-40 + word(1) * 0x1p-88);
      }
    });
  });
}

}  // namespace timepipe
