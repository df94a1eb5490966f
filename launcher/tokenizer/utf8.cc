// Finds characters of UTF-8 at the ends of a text.

#include "launcher/tokenizer/utf8.h"

#include <algorithm>

namespace timepipe {
namespace {

// Bytes of the character that `text` starts with; 0 if it starts with none.
std::size_t character_bytes(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const std::size_t size = lead < 0xC2   ? 0
                           : lead < 0xE0 ? 2
                           : lead < 0xF0 ? 3
                           : lead < 0xF5 ? 4
                                         : 0;
  if (size == 0 || text.size() < size) return 0;
  // After some first bytes only a part of the range 0x80 to 0xBF is allowed.
  const unsigned least = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned most = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  const auto second = static_cast<unsigned char>(text[1]);
  if (second < least || second > most) return 0;
  for (std::size_t i = 2; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 0;
  }
  return size;
}

}  // namespace

Utf8Character first_character(std::string_view text) {
  const std::size_t size = text.empty() ? 0 : character_bytes(text);
  if (size == 0) return {};
  const auto lead = static_cast<unsigned char>(text[0]);
  uint32_t code = size == 1 ? lead : lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
  }
  return {size, code};
}

std::string_view last_character(std::string_view text) {
  const std::size_t most =
      std::min(text.size(), std::size_t{kMostCharacterBytes});
  std::size_t size = 0;
  while (size < most) {
    ++size;
    if ((text[text.size() - size] & 0xC0) != 0x80) break;
  }
  return text.substr(text.size() - size);
}

std::size_t valid_utf8_bytes(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t size = character_bytes(text.substr(at));
    if (size == 0) break;
    at += size;
  }
  return at;
}

}  // namespace timepipe
