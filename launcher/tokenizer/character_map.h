#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace timepipe {

// What the map of characters of a sentencepiece model (NFKC and the like) makes
// of ASCII beside ASCII, where that is known without the text around: the map
// replaces, from left to right, the longest text that it knows.
class CharacterMap {
 public:
  CharacterMap() = default;  // leaves all characters as they are
  // bytes: precompiled_charsmap of the model, a double array of Darts, then
  // what the texts in it become. A pure function of bytes; nothing is known of
  // ones that aren't such a map, or that replaces texts with a character of
  // ASCII behind their first.
  explicit CharacterMap(std::string_view bytes);

  // Whether the character stays as it is before one of ASCII.
  bool keeps(uint32_t character) const {
    return all_ || (character < kAscii && kept_[character]);
  }
  // What a character becomes after one of ASCII; 0: not known.
  uint32_t after_ascii(uint32_t character) const {
    if (all_) return character;
    return character < kAscii ? becomes_[character] : 0;
  }

 private:
  static constexpr uint32_t kAscii = 128;

  bool all_ = true;
  std::array<bool, kAscii> kept_ = {};
  std::array<uint32_t, kAscii> becomes_ = {};
};

}  // namespace timepipe
