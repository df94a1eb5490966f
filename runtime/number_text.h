#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace timepipe {

// With so many significant digits, zeros kept: 7 of them give "5.976258" and
// "1.000000e-09". A NaN has no sign.
inline std::string significant(double value, int digits) {
  if (std::isnan(value)) return "nan";
  char text[64];
  std::snprintf(text, sizeof(text), "%#.*g", digits, value);
  return text;
}

// 16 hexadecimal digits, as digests and checksums are written.
inline std::string hex_text(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(value));
  return text;
}

}  // namespace timepipe
