#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace timepipe {

// "0.3 MiB", "1.25 GiB"
inline std::string byte_text(int64_t bytes) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  char text[32];
  std::snprintf(text, sizeof(text), mib < 1024 ? "%.1f MiB" : "%.2f GiB",
                mib < 1024 ? mib : mib / 1024);
  return text;
}

}  // namespace timepipe
