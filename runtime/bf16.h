#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace timepipe {

// bfloat16, the upper half of an f32, as its 16 bits.

inline float widen_bf16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// Nearest, ties to even; a NaN stays one.
inline uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  const uint32_t nearest = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>(is_nan ? bits >> 16 | 0x40 : nearest);
}
// Rounded once: what f32 can't hold is kept as its last bit (rounding to odd),
// which decides between neighbours of bf16 as all the bits would.
inline uint16_t round_to_bf16(double value) {
  const auto nearest = static_cast<float>(value);
  if (std::isnan(value) || nearest == value) return round_to_bf16(nearest);
  const bool is_beyond = std::abs(double{nearest}) > std::abs(value);
  const auto towards_zero = std::bit_cast<uint32_t>(nearest) - is_beyond;
  return round_to_bf16(std::bit_cast<float>(towards_zero | 1));
}

// An element that is stored in 16 bits and computed with in f32.
struct bf16 {  // NOLINT(readability-identifier-naming): as float
  uint16_t bits;

  bf16() = default;
  explicit bf16(float value) : bits(round_to_bf16(value)) {}
  explicit bf16(double value) : bits(round_to_bf16(value)) {}
  operator float() const { return widen_bf16(bits); }  // NOLINT: it is one
};

}  // namespace timepipe
