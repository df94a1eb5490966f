#include "launcher/require_tokenizer.h"

#include "launcher/tokenizer.h"
#include "runtime/error.h"

namespace timepipe {

void require_tokenizer(const TokenLayout& layout, const std::string& path,
                       const std::string& tokenizer) {
  require(!path.ends_with(".jsonl"),
          path +
              ": its bytes are JSON, expected a file of tokens: see timepipe "
              "data prepare");
  const std::string expected = ", expected those of data.tokenizer = ";
  const bool text = layout.type == StoredToken::kU8 && layout.begin == 0;
  require(!text || tokenizer == "bytes",
          path + ": the tokens of a text are its bytes" + expected + tokenizer +
              ": see timepipe data prepare");
  const auto name = layout.metadata.find("tokenizer");
  const auto known = layout.metadata.find("tokenizer_fingerprint");
  if (known == layout.metadata.end()) {
    // A file that another program made.
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

}  // namespace timepipe
