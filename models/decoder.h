#pragma once

#include <cstdint>
#include <span>

#include "models/hidden_state.h"

namespace timepipe {

// Reads tokens and says what may come next. Whole mini-batches are read in dual
// form, chunk by chunk; what is left of a mini-batch in the form of
// kernels/ttt_decode.h. How tokens are split into calls changes the result by
// rounding alone. Memory and time per token are the same after a million
// tokens as after the first.
class Decoder {
 public:
  // chunk_tokens: rows that are read at once, a multiple of the mini-batch. The
  // model must outlive this.
  Decoder(Context& ctx, LanguageModel& model, int64_t chunk_tokens);

  // Sees logits [n, vocab] of the call's tokens [row, row + n), in order, while
  // they exist.
  using Sink = LogitsSink;

  // Throws InvalidArgument naming place and id, before anything is read, if an
  // id isn't in the vocabulary. `sink` may be null.
  void read(std::span<const int64_t> ids, const Sink& sink);
  // As above, but the tokens, which begin a mini-batch, are the last of their
  // document. It ends with them as in training, and what is read next is a
  // document that sees the hidden state alone: convolutions and positions start
  // afresh. Throws InvalidArgument, too, if another mini-batch is begun.
  void read_last(std::span<const int64_t> ids, const Sink& sink);
  // The logits of the last token alone, [1, vocab]. At least one token. Both
  // throw InvalidArgument if logits aren't finite.
  Tensor read(std::span<const int64_t> ids);

  const HiddenState& state() const { return state_; }
  // Goes on from another state, which isn't changed.
  void restart(const HiddenState& state);
  // From the learned start.
  void restart();

 private:
  void require_in_vocabulary(std::span<const int64_t> ids) const;
  void read_all(std::span<const int64_t> ids, bool last, const Sink& sink);
  // Reads on by as many of the tokens as go at once, and returns their number.
  // last: the mini-batch in which they end is whole without more.
  int64_t read_some(std::span<const int64_t> ids, bool last);
  void run_block(std::size_t layer, const ChunkView& view);
  // Logits [end - begin, vocab] of rows of the last read_some(), which read
  // `rows`.
  Tensor logits(int64_t begin, int64_t end, int64_t rows);

  Context& ctx_;
  LanguageModel& model_;
  int64_t chunk_tokens_;
  HiddenState state_;
  Block::Slab slab_;  // of one block, used for all; x: its input and output
};

}  // namespace timepipe
