// Compares what a token file says of its tokenizer with the run's.

#include "launcher/tokenizer/require_tokenizer.h"

#include <charconv>

#include "launcher/tokenizer/tokenizer.h"
#include "runtime/error.h"

namespace timepipe {

void require_tokenizer(const TokenLayout& layout, const std::string& path,
                       const std::string& tokenizer) {
  const std::string expected = ", expected those of data.tokenizer = ";
  require(layout.kind != FileKind::kText || tokenizer == "bytes", path,
          ": the tokens of a text are its bytes", expected, tokenizer,
          ": see timepipe data prepare");
  const auto name = layout.metadata.find("tokenizer");
  const auto known = layout.metadata.find("tokenizer_fingerprint");
  if (known == layout.metadata.end()) {
    // Files that other programs made don't name their tokenizer.
    if (name == layout.metadata.end() || name->second == tokenizer) return;
    throw InvalidArgument(path + ": tokens of tokenizer " + name->second +
                          expected + tokenizer);
  }
  const std::string fingerprint = tokenizer_fingerprint(tokenizer);
  if (known->second == fingerprint) return;
  const auto told = [](const std::string& who, const std::string& what) {
    return who == what ? who : who + " (" + what + ")";
  };
  throw InvalidArgument(
      path + ": tokens of tokenizer " +
      told(name == layout.metadata.end() ? "" : name->second, known->second) +
      expected + told(tokenizer, fingerprint));
}

void require_vocabulary(const TokenLayout& layout, const std::string& path,
                        int64_t vocab_size) {
  const auto found = layout.metadata.find("vocab_size");
  if (found == layout.metadata.end()) return;
  const std::string& text = found->second;
  const char* end = text.data() + text.size();
  int64_t size = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, size);
  require(error == std::errc() && stop == end && size >= 1, path,
          ": vocab_size: \"", text.substr(0, 40),
          "\", expected a number of ids");
  require(size <= vocab_size, path, ": tokens of a vocabulary of ", text,
          ", expected at most model.vocab_size = ", vocab_size);
}

}  // namespace timepipe
