#pragma once

#include <bit>
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

}  // namespace timepipe
