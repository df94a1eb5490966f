#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/token_file.h"

namespace timepipe {

struct PrepareOptions {
  std::vector<std::string> inputs =
      {};                           // .jsonl; any other is a text, one document
  std::string out = {};             // .safetensors
  std::string tokenizer = "bytes";  // or a sentencepiece model's path
  std::string field = "text";       // of a .jsonl's lines
  int threads = 1;
  // Whether every document gets the tokenizer's id for its start or end. Unset:
  // no start; an end if the tokenizer has one.
  std::optional<bool> bos = {}, eos = {};
  bool overwrite = false;
};

struct Prepared {
  StoredToken type = StoredToken::kU8;
  int64_t tokens = 0, documents = 0;
  int64_t left_out = 0;  // documents without a token
  std::string tokenizer = {};
  int64_t vocab_size = 0;
};

// Bytes of the inputs together. Throws IoError naming the one that can't be
// read or is empty, InvalidArgument if one is a file of tokens.
int64_t input_bytes(const std::vector<std::string>& inputs);

// Makes a token file as runtime/token_file.h reads it: tensors `tokens` and
// `documents`, the tokenizer in the metadata. The same bytes for any number of
// threads. Memory: 64 KiB or a line of .jsonl per thread, 8 bytes per document,
// and a hundred times the longest text that a tokenizer doesn't cut. Throws
// IoError or InvalidArgument, and then leaves no file.
// progress: told the bytes of the inputs that are done.
Prepared prepare_tokens(const PrepareOptions& options,
                        const std::function<void(int64_t)>& progress);

}  // namespace timepipe
