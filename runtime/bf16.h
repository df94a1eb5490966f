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
  if (is_nan) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
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

}  // namespace timepipe
