#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/token_file.h"

namespace timepipe {

// Token ids of one sequence, or of rows of one length.
struct TokenRows {
  Shape shape;  // [T] or [B,T]
  std::vector<int64_t> ids;

  int64_t rows() const { return shape.size() == 2 ? shape[0] : 1; }
  int64_t tokens() const { return shape.back(); }
  std::span<const int64_t> row(int64_t b) const {
    return std::span(ids).subspan(static_cast<std::size_t>(b * tokens()),
                                  static_cast<std::size_t>(tokens()));
  }
};

// Reads .npy, the tensor of this name of a .safetensors file (no name: tokens,
// or else input_ids), or any other file as runtime/token_file.h does. Throws
// IoError or InvalidArgument naming the file, and place and id of a token that
// isn't in [0, vocab_size). raw: type of the tokens of a .bin without a header.
TokenRows read_token_rows(const std::string& path, const std::string& tensor,
                          int64_t vocab_size,
                          StoredToken raw = StoredToken::kU16);

}  // namespace timepipe
