#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace timepipe {

constexpr int kMostCharacterBytes = 4;

struct Utf8Character {
  std::size_t bytes = 0;  // 0: none
  uint32_t code = 0;
};

// The character of UTF-8 that the text starts with (RFC 3629: no surrogates, no
// overlong forms, nothing beyond U+10FFFF).
Utf8Character first_character(std::string_view text);

// The bytes from the last one that isn't inside a character on, four at most;
// all of them a character if the text is UTF-8. Empty if the text is.
std::string_view last_character(std::string_view text);

// Bytes of the longest front part that is whole characters.
std::size_t valid_utf8_bytes(std::string_view text);

}  // namespace timepipe
