#pragma once

#include <cstdio>
#include <string>

namespace timepipe {

// With so many significant digits, zeros kept: 7 of them give "5.976258" and
// "1.000000e-09".
inline std::string significant(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%#.*g", digits, value);
  return text;
}

}  // namespace timepipe
