#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launcher/tokenizer/text_bytes.h"
#include "runtime/token_file.h"

namespace timepipe {

// Adds up the bytes of the text that labels stand for, label by label, beside
// their losses.
class LabelBytes {
 public:
  // The labels are tokens of the file, of this tokenizer (make_tokenizer).
  LabelBytes(const TokenFile& file, const std::string& tokenizer,
             int64_t vocab_size);

  // Token `at` of the file is a label; its id, and that of the token before it.
  void add(int64_t at, int64_t before, int64_t id);

  // Of all labels; nothing if that isn't known.
  std::optional<int64_t> total() const;
  // Why it isn't: one line; empty if it is, or if there is nobody to tell:
  // wider ids than bytes don't say what made them.
  std::string mistake() const;

 private:
  const std::vector<int64_t>& documents_;  // of the file
  std::unique_ptr<Tokenizer> tokenizer_;
  std::optional<TextBytes> text_;  // not there: the total isn't known
  int64_t bytes_ = 0, unknown_ = 0;
  std::string mistake_;
};

}  // namespace timepipe
