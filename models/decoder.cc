// Runs the blocks on a few tokens, whole mini-batches and the rest apart.

#include "models/decoder.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "kernels/embedding.h"
#include "kernels/finite.h"
#include "kernels/rmsnorm.h"
#include "runtime/finite.h"
#include "runtime/transfer.h"

namespace timepipe {

Decoder::Decoder(Context& ctx, LanguageModel& model, int64_t chunk_tokens)
    : ctx_(ctx), model_(model), chunk_tokens_(chunk_tokens) {
  const int64_t b = model.config().mini_batch_size;
  require(chunk_tokens > 0 && chunk_tokens % b == 0,
          "chunk_tokens: ", chunk_tokens,
          ", expected a multiple of the mini-batch, ", b);
  model.set_inner_rate_multiplier(1.0);
  model.round_weights(ctx);
  slab_ = model.blocks().front().make_slab(ctx, rows_of_one(chunk_tokens));
  restart();
}

void Decoder::restart() { state_ = learned_start(ctx_, model_); }

void Decoder::restart(const HiddenState& state) { state_ = copy(ctx_, state); }

void Decoder::read(std::span<const int64_t> ids, const Sink& sink) {
  read_all(ids, /*last=*/false, sink);
}

void Decoder::read_last(std::span<const int64_t> ids, const Sink& sink) {
  const int64_t b = model_.config().mini_batch_size;
  require(state_.tokens_read % b == 0, "last tokens of a document: after ",
          state_.tokens_read, ", expected a multiple of the mini-batch, ", b);
  read_all(ids, /*last=*/true, sink);
  state_.tokens_read = 0;
}

void Decoder::read_all(std::span<const int64_t> ids, bool last,
                       const Sink& sink) {
  require_in_vocabulary(ids);
  const int64_t tile =
      cross_entropy_tile_rows(model_.config().vocab_size, ctx_.device());
  for (int64_t first = 0; first < std::ssize(ids);) {
    const int64_t rows = read_some(ids.subspan(first), last);
    for (int64_t row = 0; sink && row < rows; row += tile) {
      sink(first + row, logits(row, std::min(row + tile, rows), rows));
    }
    first += rows;
  }
}

Tensor Decoder::read(std::span<const int64_t> ids) {
  require(!ids.empty(), "tokens: none, expected at least one");
  require_in_vocabulary(ids);
  int64_t rows = 0;
  for (; !ids.empty(); ids = ids.subspan(rows)) rows = read_some(ids, false);
  return logits(rows - 1, rows, rows);
}

void Decoder::require_in_vocabulary(std::span<const int64_t> ids) const {
  const int64_t vocab = model_.config().vocab_size;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(0 <= ids[i] && ids[i] < vocab, "token ", i, ": id ", ids[i],
            ", expected one in [0, ", vocab, ")");
  }
}

int64_t Decoder::read_some(std::span<const int64_t> ids, bool last) {
  const int64_t b = model_.config().mini_batch_size;
  const int64_t place = state_.tokens_read % b;
  const int64_t whole = last ? std::ssize(ids) : std::ssize(ids) / b * b;
  const bool dual = place == 0 && whole > 0;
  const int64_t rows = dual ? std::min(chunk_tokens_, whole)
                            : std::min<int64_t>(std::ssize(ids), b - place);
  const std::array segments{Segment{
      .row = 0, .rows = rows, .context = state_.tokens_read, .resets = false}};
  const ChunkView view{.micro_batch = 0,
                       .chunk = 0,
                       .first = state_.tokens_read,
                       .rows = rows_of_one(rows),
                       .segments = segments,
                       .detached = true,
                       .place = dual ? std::nullopt : std::optional(place)};
  Tensor x = slab_.x.slice(0, rows);
  Tensor read = ctx_.allocate({rows}, DType::kI64);
  upload(ctx_, ids.first(static_cast<std::size_t>(rows)), read);
  embedding_forward(ctx_, read, model_.input_embedding(), x);
  for (std::size_t l = 0; l < state_.layers.size(); ++l) {
    run_block(l, view);
  }
  state_.tokens_read += rows;
  return rows;
}

// The block's parts, with what they look back to in place of a chunk's borders.
void Decoder::run_block(std::size_t l, const ChunkView& view) {
  const Block& block = model_.blocks()[l];
  HiddenState::Layer& layer = state_.layers[l];
  Tensor x = rows(slab_.x, view);
  const bool starts = view.first == 0;  // nothing to look back to
  const Tensor halo_x = starts ? Tensor() : layer.halo_x;
  const Tensor halo_qk = starts ? Tensor() : copy(ctx_, layer.halo_qk);
  block.conv(ctx_, view, slab_, halo_x, layer.halo_qk);
  if (!layer.halo_x.empty()) push_rows(ctx_, x, view.rows, layer.halo_x);
  block.project(ctx_, view, slab_, halo_qk);
  if (!view.place) {
    Tensor after;
    block.scan(ctx_, view, slab_, layer.state, after);
    layer.state = after;
  } else {
    block.layer().scan_part(ctx_, view, *slab_.layer, layer.state,
                            layer.gradient_sum);
  }
  block.output(ctx_, view, slab_, x);
}

Tensor Decoder::logits(int64_t begin, int64_t end, int64_t rows) {
  const Tensor y = slab_.x.slice(begin, end);
  const Tensor table = model_.output_embedding();
  Tensor n = ctx_.allocate(y.shape(), table.dtype());
  Tensor rstd = ctx_.allocate({end - begin}, y.dtype());
  rmsnorm_forward(ctx_, y, model_.final_norm(), model_.config().rms_norm_eps, n,
                  rstd);
  Tensor logits =
      ctx_.allocate({end - begin, model_.config().vocab_size}, y.dtype());
  matmul(ctx_, Form::kNT, n, table, logits);
  const int64_t first = state_.tokens_read - rows;
  if (!all_finite(ctx_, logits)) {
    require_finite("logits from token " + std::to_string(first + begin) + " on",
                   download(ctx_, logits));
  }
  return logits;
}

}  // namespace timepipe
