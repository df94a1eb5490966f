// Embedding, head and loss, and the blocks between, for one chunk at a time.

#include "models/language_model.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/embedding.h"
#include "kernels/rmsnorm.h"
#include "models/build.h"
#include "models/model_size.h"
#include "runtime/transfer.h"

namespace timepipe {
LanguageModel::LanguageModel(Context& ctx, const ModelConfig& config,
                             DType dtype)
    : config_(config) {
  validate(config);
  const int64_t C = config.hidden_size;
  ParameterLayout layout;
  embedding_ = layout.add("model.embed_tokens.weight", {config.vocab_size, C});
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    blocks_.emplace_back(
        config, prefix, layout,
        make_sequence_layer(config, prefix + "seq_modeling_block.", layout));
  }
  norm_ = layout.add("model.norm.weight", {C});
  head_ = config.tie_word_embeddings
              ? embedding_
              : layout.add("lm_head.weight", {config.vocab_size, C});
  weights_ = std::make_unique<ParameterStore>(ctx, std::move(layout), dtype);
  for (Block& block : blocks_) block.bind(*weights_);
}

void LanguageModel::round_weights(Context& ctx) const {
  round_operands(ctx, *weights_);
}

void LanguageModel::set_batch(Context& ctx, ChunkedBatch batch) {
  if (!batch.sequences().empty()) round_weights(ctx);
  batch_ = std::move(batch);
  tokens_ = {};
  first_losses_.clear();
  losses_ = {};
  int64_t slots = 0;
  const std::vector<MicroBatchShape> shapes = batch_.shapes();
  for (int64_t i = 0; i < std::ssize(shapes); ++i) {
    const int64_t first = batch_.first_sequence(i), members = batch_.members(i);
    require_halo(std::span(batch_.sequences()).subspan(first, members),
                 shapes[i]);
    for (int64_t s = first; s < first + members; ++s) {
      require_in_vocabulary(batch_.sequences()[s], s);
    }
    first_losses_.push_back(slots);
    slots += std::ssize(shapes[i]) * members;
  }
  tokens_ = BatchTokens(ctx, config_, batch_);
  if (slots > 0) losses_ = ctx.zeros({slots}, DType::kF64, MemoryUse::kBatch);
}

void LanguageModel::require_halo(std::span<const Sequence> sequences,
                                 const MicroBatchShape& shape) const {
  const int64_t halo = config_.halo_rows();
  require(shape.size() == 1 || shape.front().tokens >= halo,
          "train.chunk_tokens: ", shape.front().tokens,
          ", expected at least conv_kernel - 1 = ", halo);
  for (const Sequence& sequence : sequences) {
    const auto before = std::ssize(sequence.ids_before);
    require(before == 0 || before == halo, "tokens before a sequence: ", before,
            ", expected those that a convolution looks back to, ", halo);
    // The next step goes on from rows of the last chunk alone.
    require(!sequence.hands_on || shape.back().tokens >= halo,
            "last chunk of a sequence that goes on in the next step: ",
            shape.back().tokens,
            " tokens, expected at least conv_kernel - 1 = ", halo);
  }
}

void LanguageModel::require_in_vocabulary(const Sequence& sequence,
                                          std::size_t index) const {
  const auto check = [&](const char* name, const std::vector<int64_t>& values,
                         bool ignored) {
    const auto in_vocabulary = [&](int64_t id) {
      return (0 <= id && id < config_.vocab_size) ||
             (ignored && id == kIgnoredTarget);
    };
    const auto bad = std::ranges::find_if_not(values, in_vocabulary);
    if (bad == values.end()) return;
    throw InvalidArgument(
        "sequence " + std::to_string(index) + ": " + name + "[" +
        std::to_string(bad - values.begin()) + "]: " + std::to_string(*bad) +
        ", expected [0," + std::to_string(config_.vocab_size) + ")" +
        (ignored ? " or " + std::to_string(kIgnoredTarget) : ""));
  };
  check("ids_before", sequence.ids_before, false);
  check("ids", sequence.ids, false);
  check("targets", sequence.targets, true);
}

void LanguageModel::set_inner_rate_multiplier(double multiplier) {
  for (Block& block : blocks_) {
    block.layer().set_inner_rate_multiplier(multiplier);
  }
}

// Prices are multiply-adds per token, counted from the shapes: equal on all
// ranks, which is what the schedule needs.
ScheduleShape LanguageModel::schedule_shape() const {
  const int64_t C = config_.hidden_size, F = config_.intermediate_size;
  const int64_t scan = inner_model_price(config_);
  const int64_t projections =
      (config_.share_qk ? 1 : 2) + 1 + (config_.use_gate ? 1 : 0);
  Context counts(MemoryPool::Mode::kCount);
  LayerShape layer;
  for (const Border border :
       {Border::kHaloX, Border::kHaloQk, Border::kState}) {
    layer.border_bytes[static_cast<std::size_t>(border)] =
        make_borders(counts, 1, {border, 0}).size_bytes();
  }
  const auto price = [&](Part part, int64_t forward, int64_t backward) {
    layer.forward[static_cast<std::size_t>(part)] = forward;
    layer.backward[static_cast<std::size_t>(part)] = backward;
  };
  const int64_t first = config_.share_qk ? C * C : 0;
  price(Part::kConv, first, 2 * first);
  price(Part::kProject, projections * C * C, 2 * projections * C * C);
  price(Part::kScan, scan, 3 * scan);
  price(Part::kOutput, C * C + 3 * C * F, 2 * (C * C + 3 * C * F));
  ScheduleShape shape;
  shape.layers.assign(blocks_.size(), layer);
  shape.head_price = 3 * C * config_.vocab_size;
  return shape;
}

ChunkRows LanguageModel::rows_of(int64_t members, int64_t tokens) const {
  return chunk_rows(members, tokens, config_.mini_batch_size);
}

void LanguageModel::reserve_slabs(Context& ctx, int64_t num_slabs,
                                  int64_t members, int64_t tokens) {
  const auto wanted = static_cast<std::size_t>(num_slabs + 1);
  const ChunkRows rows = rows_of(members, tokens);
  // Larger ones serve as well: an evaluation may have fewer sequences.
  if (slabs_.size() == wanted && slab_rows_.members >= members &&
      slab_rows_.tokens >= tokens) {
    return;
  }
  slabs_.clear();
  slabs_ = make_slabs(ctx, num_slabs, rows);
  slab_rows_ = rows;
}

int64_t LanguageModel::slab_bytes(int64_t num_slabs, int64_t members,
                                  int64_t tokens) const {
  Context counts(weights_->flat().device(), MemoryPool::Mode::kCount);
  make_slabs(counts, num_slabs, rows_of(members, tokens));
  return counts.pool().peak_bytes(MemoryUse::kActivations);
}

int64_t LanguageModel::backward_bytes(int64_t members, int64_t tokens) const {
  Context counts(weights_->flat().device(), MemoryPool::Mode::kCount);
  const ChunkRows rows = rows_of(members, tokens);
  Block::Slab slab = blocks_.front().make_slab(counts, rows);
  const auto taken = [&] {
    return counts.pool().current_bytes(MemoryUse::kActivations);
  };
  const int64_t before = taken();
  blocks_.front().take_gradients(counts, rows, slab);
  return taken() - before;
}

std::vector<LanguageModel::Slab> LanguageModel::make_slabs(
    Context& ctx, int64_t num_slabs, const ChunkRows& rows) const {
  std::vector<Slab> slabs(static_cast<std::size_t>(num_slabs + 1));
  make_slab(ctx, rows, 1, slabs.front());  // kColdSlab
  for (std::size_t i = 1; i < slabs.size(); ++i) {
    make_slab(ctx, rows, blocks_.size(), slabs[i]);
  }
  return slabs;
}

void LanguageModel::make_slab(Context& ctx, const ChunkRows& rows,
                              std::size_t blocks, Slab& slab) const {
  const auto take = [&](Shape shape) {
    return ctx.allocate(std::move(shape), weights_->precision().state,
                        MemoryUse::kActivations);
  };
  for (std::size_t i = 0; i < blocks; ++i) {
    slab.blocks.push_back(blocks_[i].make_slab(ctx, rows));
  }
  const int64_t T = rows.count(), C = config_.hidden_size;
  // With one block's activations for all layers, input and output share memory.
  slab.y = blocks < blocks_.size() ? slab.blocks[0].x : take({T, C});
  slab.halo = take(config_.halo_shape(rows.members));
  slab.dhalo = take(config_.halo_shape(rows.members));
  slab.dx = take({T, C});
}

Tensor LanguageModel::block_input(Slab& slab, int64_t layer,
                                  const ChunkView& view) {
  if (layer == std::ssize(blocks_)) return rows(slab.y, view);
  return rows(activations(slab, layer).x, view);
}

Tensor LanguageModel::make_borders(Context& ctx, int64_t members,
                                   LayerBorder border) const {
  return ctx.allocate(
      blocks_[border.layer].border_shape(border.border, members),
      weights_->precision().state, MemoryUse::kBorders);
}

void LanguageModel::forward(Context& ctx, Part part, int64_t layer,
                            const ChunkView& view, int slab_index,
                            const Tensor& border_in, Tensor& border_out) {
  Slab& slab = this->slab(slab_index);
  const Block& block = blocks_[layer];
  Block::Slab& activations = this->activations(slab, layer);
  switch (part) {
    case Part::kEmbed:
      return embed(ctx, view, slab);
    case Part::kConv: {
      const bool embedded = layer == 0 && !tokens_.halo_ids(view).empty();
      return block.conv(ctx, view, activations,
                        embedded ? halos(slab.halo, view) : border_in,
                        border_out);
    }
    case Part::kProject:
      return block.project(ctx, view, activations, border_in);
    case Part::kScan:
      block.scan(ctx, view, activations, border_in, border_out);
      return observe("state." + std::to_string(layer), view, border_out);
    case Part::kOutput: {
      Tensor y = block_input(slab, layer + 1, view);
      block.output(ctx, view, activations, y);
      if (!border_out.empty()) push_rows(ctx, y, view.rows, border_out);
      return observe("hidden." + std::to_string(layer), view, y);
    }
    case Part::kHead:
      return head(ctx, view, slab, nullptr);
  }
}

void LanguageModel::backward(Context& ctx, Part part, int64_t layer,
                             const ChunkView& view, int slab_index,
                             const Tensor& border_in, const Tensor& dborder_out,
                             Tensor& dborder_in, GradientSum& gradients) {
  Slab& slab = this->slab(slab_index);
  const Block& block = blocks_[layer];
  Block::Slab& activations = this->activations(slab, layer);
  Tensor dx = rows(slab.dx, view);
  switch (part) {
    case Part::kHead:
      return head(ctx, view, slab, &gradients);
    case Part::kOutput:  // own value first, then the next chunk's
      if (!dborder_out.empty())
        push_rows_backward(ctx, dborder_out, view.rows, dx);
      observe("dhidden." + std::to_string(layer), view, dx);
      return block.output_backward(ctx, view, activations, dx, gradients);
    case Part::kScan:
      return block.scan_backward(ctx, view, activations, dborder_out,
                                 dborder_in, gradients);
    case Part::kProject:
      return block.project_backward(ctx, view, activations, border_in,
                                    dborder_in, gradients);
    case Part::kConv: {
      const bool embedded = layer == 0 && !tokens_.halo_ids(view).empty();
      Tensor dhalo = halos(slab.dhalo, view);
      return block.conv_backward(
          ctx, view, activations, embedded ? halos(slab.halo, view) : border_in,
          dborder_out, embedded && !view.detached ? dhalo : dborder_in, dx,
          gradients);
    }
    case Part::kEmbed:
      return embed_backward(ctx, view, slab, gradients);
  }
}

void LanguageModel::embed(Context& ctx, const ChunkView& view, Slab& slab) {
  const Tensor table = weights_->value(embedding_);
  Tensor x = block_input(slab, 0, view);
  embedding_forward(ctx, tokens_.ids(view), table, x);
  const Tensor before = tokens_.halo_ids(view);
  if (before.empty()) return;
  Tensor halo = halos(slab.halo, view);
  embedding_forward(ctx, before, table, halo);
}

void LanguageModel::embed_backward(Context& ctx, const ChunkView& view,
                                   Slab& slab, GradientSum& gradients) {
  const Tensor before = tokens_.halo_ids(view);
  add_gradient(ctx, *weights_, embedding_, gradients, [&](Tensor& dtable) {
    embedding_backward(ctx, tokens_.ids(view), rows(slab.dx, view), dtable,
                       Write::kOverwrite);
    if (before.empty() || view.detached) return;
    embedding_backward(ctx, before, halos(slab.dhalo, view), dtable,
                       Write::kAdd);
  });
}

// Last norm, logits and loss; with gradients, also the gradient of the last
// block's output, in slab.dx.
void LanguageModel::head(Context& ctx, const ChunkView& view, Slab& slab,
                         GradientSum* gradients) {
  const Tensor y = rows(slab.y, view);
  const Tensor w = weights_->value(norm_), table = weights_->operand(head_);
  Tensor n = ctx.allocate(y.shape(), table.dtype());
  Tensor rstd = ctx.allocate({y.dim(0)}, y.dtype());
  rmsnorm_forward(ctx, y, w, config_.rms_norm_eps, n, rstd);
  observe("hidden.final", view, n);

  const Tensor targets = tokens_.targets(view);
  CrossEntropy loss{view.rows, n, table, targets, tokens_.loss_scales(view)};
  if (observe_) {
    loss.sink = [&](int64_t row, const Tensor& logits) {
      observe_("logits", view, row, logits);
    };
  }
  const int64_t members = view.rows.members;
  const int64_t slot = first_losses_[view.micro_batch] + view.chunk * members;
  Tensor losses = losses_.slice(slot, slot + members);
  if (gradients == nullptr) return cross_entropy_forward(ctx, loss, losses);
  Tensor dn = ctx.allocate(y.shape(), y.dtype());
  add_gradient(ctx, *weights_, head_, *gradients, [&](Tensor& dtable) {
    cross_entropy_forward_backward(ctx, loss, losses, dn, dtable);
  });
  Tensor dx = rows(slab.dx, view);
  add_gradient(ctx, *weights_, norm_, *gradients, [&](Tensor& dw) {
    rmsnorm_backward(ctx, dn, y, w, rstd, dx, Write::kOverwrite, dw,
                     Write::kOverwrite);
  });
}

void LanguageModel::observe(const std::string& name, const ChunkView& view,
                            const Tensor& value) const {
  if (observe_) observe_(name, view, 0, value);
}

Tensor LanguageModel::halos(const Tensor& tensor, const ChunkView& view) const {
  return tensor.slice(0, view.rows.members * config_.halo_rows());
}

}  // namespace timepipe
