// Reads a model's map of characters, a double array, for what it does to ASCII.

#include "launcher/tokenizer/character_map.h"

#include <cstddef>
#include <cstring>
#include <optional>
#include <vector>

namespace timepipe {
namespace {

// The units of a double array as Darts-clone makes it. A node is the place that
// the units of its bytes are counted from.
class DoubleArray {
 public:
  explicit DoubleArray(std::string_view bytes)
      : units_(bytes.size() / sizeof(uint32_t)) {
    if (!units_.empty()) {
      std::memcpy(units_.data(), bytes.data(),
                  units_.size() * sizeof(uint32_t));
    }
  }

  std::size_t size() const { return units_.size(); }
  std::size_t root() const { return units_.empty() ? 0 : offset(units_[0]); }

  struct Child {
    std::size_t node;
    std::optional<uint32_t> value;  // of the text that ends here
  };
  std::optional<Child> child(std::size_t node, uint32_t byte) const {
    constexpr uint32_t kIsValue = uint32_t{1} << 31;
    const std::size_t at = node ^ byte;
    if (at >= units_.size()) return std::nullopt;
    const uint32_t unit = units_[at];
    if ((unit & (kIsValue | 0xFF)) != byte) return std::nullopt;
    Child found = {at ^ offset(unit), std::nullopt};
    if ((unit >> 8 & 1) == 1 && found.node < units_.size()) {
      found.value = units_[found.node] & ~kIsValue;
    }
    return found;
  }

 private:
  static std::size_t offset(uint32_t unit) {
    return std::size_t{unit >> 10} << (unit >> 6 & 8);
  }

  std::vector<uint32_t> units_;
};

// Whether a text of the array has one of the bytes 1 to 127 behind `node`.
bool has_ascii(const DoubleArray& array, std::size_t node,
               std::vector<bool>& seen) {
  std::vector<std::size_t> open = {node};
  while (!open.empty()) {
    const std::size_t at = open.back();
    open.pop_back();
    if (at >= seen.size() || seen[at]) continue;
    seen[at] = true;
    for (uint32_t byte = 1; byte < 256; ++byte) {
      const auto child = array.child(at, byte);
      if (!child) continue;
      if (byte < 128) return true;
      open.push_back(child->node);
    }
  }
  return false;
}

bool has_children(const DoubleArray& array, std::size_t node) {
  for (uint32_t byte = 1; byte < 256; ++byte) {
    if (array.child(node, byte)) return true;
  }
  return false;
}

}  // namespace

CharacterMap::CharacterMap(std::string_view bytes) : all_(bytes.empty()) {
  uint32_t size = 0;
  if (bytes.size() < sizeof(size)) return;
  std::memcpy(&size, bytes.data(), sizeof(size));
  bytes.remove_prefix(sizeof(size));
  if (size > bytes.size()) return;
  const DoubleArray array(bytes.substr(0, size));
  const std::string_view texts = bytes.substr(size);

  // Nodes count from a block of 256 units: they may lie behind the last one.
  std::vector<bool> seen(array.size() + 256);
  for (uint32_t byte = 1; byte < 256; ++byte) {
    const auto child = array.child(array.root(), byte);
    if (child && has_ascii(array, child->node, seen)) return;
  }
  for (uint32_t c = 1; c < kAscii; ++c) {
    const auto child = array.child(array.root(), c);
    kept_[c] = !child || !child->value;
    if (!child) becomes_[c] = c;
    if (!child || !child->value || has_children(array, child->node)) continue;
    const bool space =
        *child->value < texts.size() &&
        texts.substr(*child->value).starts_with(std::string_view(" \0", 2));
    if (space) becomes_[c] = ' ';
  }
}

}  // namespace timepipe
