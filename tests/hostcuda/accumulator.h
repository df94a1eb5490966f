#pragma once

// The accumulator of tensor cores, product by product with integers.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

namespace timepipe::cuda {

struct Stored {
  uint32_t bits;

  explicit Stored(float x) : bits(std::bit_cast<uint32_t>(x)) {}
  int exponent() const { return std::max<int>(1, bits >> 23 & 255); }
  int64_t mantissa() const {
    return (bits & 0x7fffff) | (bits >> 23 & 255 ? 0x800000 : 0);
  }
  bool is_zero() const { return bits << 1 == 0; }
  bool is_negative() const { return bits >> 31; }
};

// c + sum of a[k] b[k], all finite: c and the exact products are aligned to the
// largest exponent and cut toward zero `fraction` bits below it, added, and the
// sum is cut toward zero to f32.
inline float accumulate(float c, std::span<const float> a,
                        std::span<const float> b, int fraction) {
  constexpr int kNone = -1;
  const Stored start(c);
  int top = start.is_zero() ? kNone : start.exponent() + 127;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Stored x(a[k]), y(b[k]);
    if (x.is_zero() || y.is_zero()) continue;
    top = std::max(top, x.exponent() + y.exponent());
  }
  if (top == kNone) return c;
  // m 2^(exponent - point) in units of 2^(top - fraction).
  const auto cut = [&](int64_t m, int point, int exponent, bool negative) {
    const int shift = fraction - point - (top - exponent);
    const int64_t units = shift >= 0    ? m << shift
                          : shift > -64 ? m >> -shift
                                        : 0;
    return negative ? -units : units;
  };
  int64_t sum = start.is_zero()
                    ? 0
                    : cut(start.mantissa(), 23, start.exponent() + 127,
                          start.is_negative());
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Stored x(a[k]), y(b[k]);
    if (x.is_zero() || y.is_zero()) continue;
    sum += cut(x.mantissa() * y.mantissa(), 46, x.exponent() + y.exponent(),
               x.is_negative() != y.is_negative());
  }
  auto size = static_cast<uint64_t>(sum < 0 ? -sum : sum);
  const int width = std::bit_width(size);
  if (width > 24) size &= ~uint64_t{0} << (width - 24);
  const double result =
      std::ldexp(static_cast<double>(size), top - 254 - fraction);
  return static_cast<float>(sum < 0 ? -result : result);
}

}  // namespace timepipe::cuda
