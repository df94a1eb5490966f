#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launcher/tokenizer/tokenizer.h"
#include "models/decoder.h"
#include "runtime/token_file.h"

namespace timepipe {

// Reads what a model goes on from, with memory that doesn't grow with it.
class Prefill {
 public:
  // piece: tokens that the decoder gets at once.
  Prefill(Decoder& decoder, int64_t piece) : decoder_(decoder), piece_(piece) {}

  void add(std::span<const int64_t> ids);
  // Throws InvalidArgument ("WHERE: byte N: what") if it isn't what the
  // tokenizer reads, IoError. Progress on stderr.
  void add_text(const FileBytes& text, const std::string& where,
                Tokenizer& tokenizer);
  void add_file(const TokenFile& file, int64_t vocab_size);

  // The logits of the next token [1,vocab]; empty if there was no token.
  Tensor finish();

  int64_t tokens() const { return tokens_; }
  // The last few tokens.
  std::span<const int64_t> tail() const { return tail_; }

 private:
  void read(std::span<const int64_t> ids);

  Decoder& decoder_;
  int64_t piece_, tokens_ = 0;
  std::vector<int64_t> waiting_, tail_;
  Tensor logits_;
};

}  // namespace timepipe
