#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

namespace timepipe {

// "a, b, c, d, e and 7 more": the first five in full; "" if there are none.
inline std::string first_few(const std::vector<std::string>& items) {
  constexpr std::size_t kMost = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + items[i];
  }
  if (items.size() <= kMost) return text;
  return text + " and " + std::to_string(items.size() - kMost) + " more";
}

}  // namespace timepipe
