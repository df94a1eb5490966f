#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/files.h"

namespace timepipe {

// The bytes of a text file as token ids 0..255, memory-mapped.
class TokenReader {
 public:
  // Throws IoError naming the path if it can't be read or is empty.
  explicit TokenReader(const std::string& path);

  int64_t num_tokens() const {
    return static_cast<int64_t>(file_.bytes().size());
  }
  // xxh64 of the file: ranks must read the same.
  uint64_t hash() const;
  // Copies tokens [first, first + ids.size()) as ids. Throws InvalidArgument
  // naming file and range if that goes beyond the end.
  void read(int64_t first, std::span<int64_t> ids) const;

 private:
  MappedFile file_;
};

// Which windows of a token file a step reads: a pure function of (seed, step).
// The file is cut into windows of `length` tokens plus the label of the last;
// every epoch visits each once in a new order.
class WindowOrder {
 public:
  // Throws InvalidArgument if the file is shorter than one window.
  WindowOrder(int64_t num_tokens, int64_t length, uint64_t seed);

  int64_t num_windows() const { return num_windows_; }
  // First token of the `index`-th window read since the start of training
  // (step * sequences per step + sequence).
  int64_t first_token(int64_t index) const;

 private:
  int64_t length_, num_windows_;
  uint64_t seed_;
};

}  // namespace timepipe
