#include "runtime/token_reader.h"

#include <xxhash.h>

#include <algorithm>

#include "runtime/error.h"
#include "runtime/rng.h"

namespace timepipe {

TokenReader::TokenReader(const std::string& path) : file_(path) {
  if (file_.bytes().empty()) throw IoError(path + ": empty");
}

uint64_t TokenReader::hash() const {
  return XXH64(file_.bytes().data(), file_.bytes().size(), 0);
}

void TokenReader::read(int64_t first, std::span<int64_t> ids) const {
  const auto count = static_cast<int64_t>(ids.size());
  const int64_t size = num_tokens();
  require(0 <= first && first <= size && count <= size - first,
          file_.path() + ": tokens [" + std::to_string(first) + ", " +
              std::to_string(first) + " + " + std::to_string(count) +
              "), expected a range in [0, " + std::to_string(size) + ")");
  const std::byte* bytes = file_.bytes().data() + first;
  std::transform(bytes, bytes + count, ids.begin(),
                 [](std::byte b) { return std::to_integer<int64_t>(b); });
}

WindowOrder::WindowOrder(int64_t num_tokens, int64_t length, uint64_t seed)
    : length_(length), num_windows_(0), seed_(seed) {
  require(length >= 1,
          "window length: " + std::to_string(length) + ", expected 1 or more");
  num_windows_ = (num_tokens - 1) / length;  // the last token is only a label
  require(num_tokens >= 1 && num_windows_ >= 1,
          "tokens: " + std::to_string(num_tokens) +
              ", expected one window of " + std::to_string(length) +
              " and its last label at least");
}

int64_t WindowOrder::first_token(int64_t index) const {
  require(index >= 0,
          "window: " + std::to_string(index) + ", expected 0 or more");
  const int64_t epoch = index / num_windows_;
  const Rng rng(seed_, "window order of epoch " + std::to_string(epoch));
  return permuted_index(rng, index % num_windows_, num_windows_) * length_;
}

}  // namespace timepipe
