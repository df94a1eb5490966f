// Reads from a sentencepiece model where cutting a text changes no id.

#include "launcher/tokenizer/neutral_cuts.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "launcher/tokenizer/utf8.h"

namespace timepipe {
namespace {

constexpr uint32_t kSpace = 0x2581;

// Field numbers and values of sentencepiece_model.proto.
constexpr uint64_t kPieces = 1, kTrainer = 2, kNormalizer = 3;
constexpr uint64_t kPieceText = 1, kPieceType = 3, kUnused = 5;
constexpr uint64_t kModelType = 3, kSpaceAsSuffix = 24, kBytePairs = 2;
constexpr uint64_t kCharacterMap = 2;

// The fields of a message of Protocol Buffers, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  uint64_t number = 0, value = 0;  // of the field that next() found
  std::string_view bytes;          // a text or a message; else empty

  // False at the end, and where the bytes are no field.
  bool next() {
    if (rest_.empty() || broken_) return false;
    const uint64_t tag = varint();
    number = tag >> 3;
    value = 0;
    bytes = {};
    switch (tag & 7) {
      case 0:
        value = varint();
        break;
      case 1:
        take(8);
        break;
      case 2:
        bytes = take(varint());
        break;
      case 5:
        take(4);
        break;
      default:
        broken_ = true;
    }
    return !broken_;
  }
  bool broken() const { return broken_; }

 private:
  std::string_view take(uint64_t size) {
    broken_ = broken_ || size > rest_.size();
    if (broken_) return {};
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = take(1);
      if (byte.empty()) return 0;
      const auto bits = static_cast<unsigned char>(byte[0]);
      value |= uint64_t{bits & 0x7FU} << shift;
      if (bits < 0x80) return value;
    }
    broken_ = true;
    return 0;
  }

  std::string_view rest_;
  bool broken_ = false;
};

uint32_t space_as_sign(uint32_t character) {
  return character == ' ' ? kSpace : character;
}

}  // namespace

NeutralCuts::NeutralCuts(std::string_view model) {
  Fields fields(model);
  while (fields.next()) {
    if (fields.number == kPieces) read_piece(fields.bytes);
    if (fields.number == kTrainer) read_trainer(fields.bytes);
    if (fields.number != kNormalizer) continue;
    Fields normalizer(fields.bytes);
    while (normalizer.next()) {
      if (normalizer.number == kCharacterMap) {
        map_ = CharacterMap(normalizer.bytes);
      }
    }
    anywhere_ = anywhere_ && !normalizer.broken();
  }
  anywhere_ = anywhere_ && !fields.broken() && type_ == kBytePairs;
  if (!anywhere_) joined_.clear();
  std::ranges::sort(joined_);
  joined_.erase(std::unique(joined_.begin(), joined_.end()), joined_.end());
}

void NeutralCuts::read_piece(std::string_view message) {
  Fields fields(message);
  while (fields.next()) {
    if (fields.number == kPieceType && fields.value == kUnused) {
      anywhere_ = false;
    }
    if (fields.number != kPieceText) continue;
    uint64_t before = 0;  // of the first: so after U+0000 little is cut
    for (std::string_view piece = fields.bytes; !piece.empty();) {
      const Utf8Character c = first_character(piece);
      if (c.bytes == 0) {
        anywhere_ = false;
        break;
      }
      const uint64_t character = space_as_sign(c.code);
      joined_.push_back(before << 32 | character);
      before = character;
      piece.remove_prefix(c.bytes);
    }
  }
  anywhere_ = anywhere_ && !fields.broken();
}

void NeutralCuts::read_trainer(std::string_view message) {
  Fields fields(message);
  while (fields.next()) {
    if (fields.number == kModelType) type_ = fields.value;
    if (fields.number == kSpaceAsSuffix && fields.value != 0) {
      anywhere_ = false;
    }
  }
  anywhere_ = anywhere_ && !fields.broken();
}

bool NeutralCuts::at(std::string_view text, std::size_t at) const {
  if (!anywhere_) return false;
  const std::string_view last = last_character(text.substr(0, at));
  const Utf8Character before = first_character(last);
  const Utf8Character after = first_character(text.substr(at));
  if (before.bytes == 0 || before.bytes != last.size() || after.bytes == 0) {
    return false;
  }
  const uint32_t mapped = map_.after_ascii(after.code);
  return space_as_sign(before.code) != kSpace && map_.keeps(before.code) &&
         mapped != 0 && !joins(before.code, after.code) &&
         !joins(before.code, mapped);
}

bool NeutralCuts::joins(uint64_t before, uint32_t after) const {
  return std::ranges::binary_search(joined_,
                                    before << 32 | space_as_sign(after));
}

// A cut depends on one character before it and one after it.
std::vector<int64_t> NeutralCuts::cuts_in(const FileBytes& text, int64_t after,
                                          int64_t last) const {
  const int64_t begin = std::max(after - kMostCharacterBytes, int64_t{0});
  const int64_t end = std::min(last + kMostCharacterBytes, text.size());
  const std::string window = text.read_text(begin, end - begin);
  std::vector<int64_t> cuts;
  for (int64_t cut = after + 1; cut <= last; ++cut) {
    if (at(window, static_cast<std::size_t>(cut - begin))) cuts.push_back(cut);
  }
  return cuts;
}

int64_t NeutralCuts::piece_end(const FileBytes& text, int64_t begin,
                               int64_t most_bytes, int64_t window_bytes) const {
  const int64_t half = begin + most_bytes / 2, full = begin + most_bytes;
  if (!anywhere_ || full >= text.size()) return text.size();
  for (int64_t last = full; last > half; last -= window_bytes) {
    const auto cuts = cuts_in(text, std::max(half, last - window_bytes), last);
    if (!cuts.empty()) return cuts.back();
  }
  for (int64_t after = full; after < text.size(); after += window_bytes) {
    const auto cuts =
        cuts_in(text, after, std::min(after + window_bytes, text.size() - 1));
    if (!cuts.empty()) return cuts.front();
  }
  return text.size();
}

}  // namespace timepipe
