// Gives a prompt, as text or file, to the decoder in pieces.

#include "launcher/generate/prefill.h"

#include <algorithm>

#include "launcher/process/read_progress.h"

namespace timepipe {
namespace {

constexpr const char* kWhat = "reads the prompt";

}  // namespace

void Prefill::read(std::span<const int64_t> ids) {
  constexpr std::size_t kTail = 8;
  if (ids.empty()) return;
  logits_ = decoder_.read(ids);
  tokens_ += std::ssize(ids);
  const auto last = ids.last(std::min(ids.size(), kTail));
  tail_.insert(tail_.end(), last.begin(), last.end());
  tail_.erase(tail_.begin(), tail_.end() - static_cast<std::ptrdiff_t>(
                                               std::min(tail_.size(), kTail)));
}

// Whole pieces go on at once, so that how a prompt is cut doesn't change what
// the decoder gets.
void Prefill::add(std::span<const int64_t> ids) {
  while (!ids.empty()) {
    const auto room = static_cast<std::size_t>(piece_) - waiting_.size();
    const std::size_t taken = std::min(room, ids.size());
    waiting_.insert(waiting_.end(), ids.begin(), ids.begin() + taken);
    ids = ids.subspan(taken);
    if (std::ssize(waiting_) < piece_) return;
    read(waiting_);
    waiting_.clear();
  }
}

void Prefill::add_text(const FileBytes& text, const std::string& where,
                       Tokenizer& tokenizer) {
  ReadProgress progress(kWhat, text.size(), "bytes");
  tokenizer.encode(text, where,
                   [&](std::span<const int64_t> ids, int64_t bytes) {
                     add(ids);
                     progress.add(bytes);
                   });
}

void Prefill::add_file(const TokenFile& file, int64_t vocab_size) {
  ReadProgress progress(kWhat, file.num_tokens());
  std::vector<int64_t> ids;
  for (int64_t first = 0; first < file.num_tokens();) {
    const int64_t count = std::min(piece_, file.num_tokens() - first);
    ids.resize(static_cast<std::size_t>(count));
    file.read(first, ids, vocab_size);
    add(ids);
    first += count;
    progress.add(count);
  }
}

Tensor Prefill::finish() {
  read(waiting_);
  waiting_.clear();
  return logits_;
}

}  // namespace timepipe
