#include "runtime/window_order.h"

#include <string>

#include "runtime/error.h"
#include "runtime/rng.h"

namespace timepipe {

WindowOrder::WindowOrder(int64_t num_tokens, int64_t length, uint64_t seed)
    : length_(length), num_windows_(0), seed_(seed) {
  require(length >= 1, "window length: ", length, ", expected 1 or more");
  num_windows_ = (num_tokens - 1) / length;  // the last token is only a label
  require(num_tokens >= 1 && num_windows_ >= 1, "tokens: ", num_tokens,
          ", expected one window of ", length, " and its last label at least");
}

int64_t WindowOrder::first_token(int64_t index) const {
  require(index >= 0, "window: ", index, ", expected 0 or more");
  const int64_t epoch = index / num_windows_;
  const Rng rng(seed_, "window order of epoch " + std::to_string(epoch));
  return permuted_index(rng, index % num_windows_, num_windows_) * length_;
}

}  // namespace timepipe
