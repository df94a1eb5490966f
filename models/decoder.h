#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "models/hidden_state.h"

namespace timepipe {

// Reads tokens and says what may come next: whole mini-batches in dual form,
// chunk by chunk, the rest in primal form. How the tokens are split into calls
// doesn't change the result. Memory: one chunk, whatever is read.
class Decoder {
 public:
  // chunk_tokens: a multiple of the mini-batch. The model must outlive this.
  Decoder(Context& ctx, LanguageModel& model, int64_t chunk_tokens);

  // Rows [first, first + logits.dim(0)) of the tokens of this call, in order;
  // logits [n, vocab].
  using LogitsSink = std::function<void(int64_t first, const Tensor& logits)>;

  // Throws InvalidArgument, before anything is read, if an id lies outside the
  // vocabulary or there is none.
  void read(std::span<const int64_t> ids, const LogitsSink& sink);
  // Logits of the last token, [vocab].
  Tensor read(std::span<const int64_t> ids);

  const HiddenState& state() const { return state_; }
  void restart(HiddenState state);
  void restart();  // from the learned start

 private:
  Context& ctx_;
  LanguageModel& model_;
  int64_t chunk_tokens_;
  HiddenState state_;
};

}  // namespace timepipe
