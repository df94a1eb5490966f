#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/token_file.h"

namespace timepipe {

struct PrepareOptions {
  // JSON lines, a document each, or texts, one document; "-": standard input.
  std::vector<std::string> inputs = {};
  std::string out = {};             // .safetensors
  std::string tokenizer = "bytes";  // or a sentencepiece model's path
  // Of JSON lines; unset: "text", and texts may be inputs too.
  std::optional<std::string> field = {};
  bool any_bytes = false;       // inputs are texts, whatever they look like
  bool skip_bad_lines = false;  // of JSON lines
  int threads = 1;
  // Whether every document gets the tokenizer's id for its start or end. Unset:
  // no start; an end if the tokenizer has one.
  std::optional<bool> bos = {}, eos = {};
  bool overwrite = false;
};

struct Prepared {
  StoredToken type = StoredToken::kU8;
  int64_t tokens = 0, documents = 0;
  int64_t source_bytes = 0;  // of the inputs
  int64_t left_out = 0;      // documents without a token
  // Lines that were skipped, and what is wrong with the first ones.
  int64_t bad_lines = 0;
  std::vector<std::string> first_bad_lines = {};
  std::string tokenizer = {};
  int64_t vocab_size = 0;
};

// Makes a token file as runtime/token_file.h reads it: tensors `tokens` and
// `documents`, the tokenizer in the metadata. The same bytes for any number of
// threads. Memory: 64 KiB or a line of .jsonl per thread, and 8 bytes per
// document. Throws IoError or InvalidArgument, and then leaves no file.
// What a pipe gives is kept beside `out` meanwhile.
// progress: told how many bytes of the inputs are done, and of how many.
Prepared prepare_tokens(
    const PrepareOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace timepipe
