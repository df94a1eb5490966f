#include "launcher/commands/label_bytes.h"

#include <algorithm>
#include <exception>

#include "launcher/process/out_of_memory.h"

namespace timepipe {

LabelBytes::LabelBytes(const TokenFile& file, const std::string& tokenizer,
                       int64_t vocab_size)
    : documents_(file.layout().documents) {
  const bool are_bytes =
      vocab_size == 256 || file.layout().type == StoredToken::kU8;
  if (tokenizer == "bytes" && !are_bytes) return;
  try {
    tokenizer_ = make_tokenizer(tokenizer);
    text_.emplace(*tokenizer_);
  } catch (const std::exception& error) {
    mistake_ = line_of(error);
  }
}

void LabelBytes::add(int64_t at, int64_t before, int64_t id) {
  if (!text_) return;
  try {
    const auto bytes =
        text_->of(before, id, std::ranges::binary_search(documents_, at));
    bytes_ += bytes.value_or(0);
    unknown_ += bytes ? 0 : 1;
  } catch (const std::exception& error) {  // the losses are worth going on
    mistake_ = line_of(error);
    text_.reset();
  }
}

std::optional<int64_t> LabelBytes::total() const {
  if (!text_ || unknown_ > 0 || bytes_ == 0) return std::nullopt;
  return bytes_;
}

std::string LabelBytes::mistake() const {
  if (!text_ || total()) return mistake_;
  if (unknown_ == 0) return "no text";
  return std::to_string(unknown_) +
         (unknown_ == 1 ? " unknown id" : " unknown ids");
}

}  // namespace timepipe
