#pragma once

#include <cstdint>

namespace timepipe {

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
