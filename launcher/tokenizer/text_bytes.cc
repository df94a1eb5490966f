// Bytes of ids, each asked for once.

#include "launcher/tokenizer/text_bytes.h"

#include "runtime/error.h"

namespace timepipe {

TextBytes::TextBytes(Tokenizer& tokenizer)
    : tokenizer_(tokenizer), letter_(some_text(tokenizer)) {}

int64_t TextBytes::behind(const std::vector<int64_t>& anchor, int64_t id) {
  std::vector<int64_t> ids = anchor;
  ids.push_back(id);
  return std::ssize(tokenizer_.decode(ids)) -
         std::ssize(tokenizer_.decode(anchor));
}

int64_t TextBytes::inside(int64_t id) {
  const auto known = inside_.find(id);
  if (known != inside_.end()) return known->second;
  return inside_[id] = behind(letter_, id);
}

bool TextBytes::is_mark(int64_t id) {
  return !tokenizer_.is_byte_of_text(id) && !tokenizer_.is_unknown(id) &&
         inside(id) == 0;
}

std::optional<int64_t> TextBytes::of(int64_t before, int64_t id, bool starts) {
  if (tokenizer_.is_byte_of_text(id)) return 1;
  if (tokenizer_.is_unknown(id)) return std::nullopt;
  if (!starts && !is_mark(before)) return inside(id);
  const auto known = first_.find(id);
  if (known != first_.end()) return known->second;
  return first_[id] = behind({}, id);
}

}  // namespace timepipe
