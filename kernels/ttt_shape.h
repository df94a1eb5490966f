#pragma once

#include <cstdint>

namespace timepipe {

// The inner model z of a TTT layer (Sun et al. 2024, arXiv:2407.04620):
//   kLinear: z(x) = x W1 + b1                     W1 [D,D],  b1 [D]
//   kMlp:    z(x) = gelu(x W1 + b1) W2 + b2       W1 [D,4D], b1 [4D], W2 [4D,D]
enum class InnerModel { kLinear, kMlp };

// Sizes of one scan.
struct TttShape {
  InnerModel inner;
  int64_t heads, head_size, mini_batch;

  // Elements of the state of all heads: one flat buffer, laid out
  // [W1 of all heads | b1 | W2 | b2], each row-major [H, rows, columns].
  int64_t state_size() const;
};

}  // namespace timepipe
