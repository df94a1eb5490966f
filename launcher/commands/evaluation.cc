// Reads windows of documents and adds up the losses of their labels.

#include "launcher/commands/evaluation.h"

#include <algorithm>
#include <span>

#include "kernels/cross_entropy.h"
#include "runtime/transfer.h"

namespace timepipe {

Evaluation::Evaluation(Context& ctx, const OpenModel& opened,
                       const TokenFile& file, Documents documents,
                       LabelBytes& bytes)
    : ctx_(ctx),
      file_(file),
      documents_(documents),
      bytes_(bytes),
      vocab_(opened.config.model.vocab_size),
      piece_(16 * decoder_chunk_tokens(opened.config.model)),
      decoder_(ctx, *opened.model, decoder_chunk_tokens(opened.config.model)) {
  if (opened.config.data.loss == Loss::kJax) {
    not_a_label_ = opened.config.data.bos_id;
  }
}

LossByPosition Evaluation::run(const SequencePacker& windows,
                               ReadProgress& progress) {
  losses_ = {};
  const bool carries = documents_ == Documents::kCarry;
  for (int64_t window = 0; window < windows.num_sequences(); ++window) {
    for (const PackedPiece& piece : windows.pieces(window)) {
      if (piece.row == 0 || !carries) {
        decoder_.restart();
        tokens_read_ = 0;
      }
      const bool last = piece.ends && carries;
      // Only a state that is carried on shows that the last token was read.
      const int64_t tokens = piece.tokens - (piece.ends && !carries ? 1 : 0);
      read(piece.first, tokens, last, progress);
    }
  }
  return losses_;
}

// In pieces, so that memory doesn't grow with the document.
void Evaluation::read(int64_t first, int64_t tokens, bool last,
                      ReadProgress& progress) {
  for (int64_t done = 0; done < tokens;) {
    const int64_t count = std::min(piece_, tokens - done);
    const bool ends = last && done + count == tokens;
    ids_.resize(static_cast<std::size_t>(count + (ends ? 0 : 1)));
    first_ = first + done;
    file_.read(first_, ids_, vocab_);
    const auto ids = std::span(ids_).first(static_cast<std::size_t>(count));
    const auto sink = [&](int64_t row, const Tensor& logits) {
      add(row, logits);
      progress.add(logits.dim(0));
    };
    ends ? decoder_.read_last(ids, sink) : decoder_.read(ids, sink);
    tokens_read_ += count;
    done += count;
  }
}

void Evaluation::add(int64_t row, const Tensor& logits) {
  const int64_t rows = logits.dim(0);
  HostArray targets({rows}, DType::kI64);
  const std::span<int64_t> target = targets.values<int64_t>();
  for (int64_t r = 0; r < rows; ++r) {
    const auto next = static_cast<std::size_t>(row + r + 1);
    target[r] = next < ids_.size() ? ids_[next] : kIgnoredTarget;
    if (target[r] == not_a_label_) target[r] = kIgnoredTarget;
  }
  Tensor losses = ctx_.allocate({rows}, DType::kF64);
  token_losses(ctx_, logits, upload(ctx_, targets), losses);
  const HostArray loss = download(ctx_, losses);
  for (int64_t r = 0; r < rows; ++r) {
    if (target[r] == kIgnoredTarget) continue;
    const int64_t read = row + r + 1;  // of ids_, before the label
    losses_.add(tokens_read_ + read, loss.values<double>()[r]);
    bytes_.add(first_ + read, ids_[read - 1], target[r]);
  }
}

}  // namespace timepipe
