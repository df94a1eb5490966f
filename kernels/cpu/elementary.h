#pragma once

// Elementary functions in a form that the compiler vectorises.

#include <bit>
#include <cmath>
#include <cstdint>

namespace timepipe::cpu {

inline double exp(double x) { return std::exp(x); }

// Within 2 units in the last place; 0 below -104, infinity above 89, NaN for
// NaN. Range reduction and polynomial of Cephes' expf (Moshier).
inline float exp(float x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer
  x = x < -104.F ? -104.F : x;
  x = x > 89.F ? 89.F : x;
  const float shifted = x * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = (p * (r * r) + r) + 1.F;
  // 2^n as a product of two powers: n may lie outside the range of exponents.
  const int32_t power =
      std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const int32_t half = power >> 1;
  const auto power_of_two = [](int32_t e) {
    return std::bit_cast<float>(static_cast<uint32_t>(e + 127) << 23);
  };
  return p * power_of_two(half) * power_of_two(power - half);
}

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + exp(-x));
}

}  // namespace timepipe::cpu
