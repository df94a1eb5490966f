#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/cross_entropy.h"
#include "models/batch_tokens.h"
#include "models/block.h"

namespace timepipe {

// Sees values while they exist, for tests and tools: "hidden.<layer>" (output
// of a block), "hidden.final" (after the last norm), "dhidden.<layer>",
// "state.<layer>" (after the chunk), "logits" (rows from `row`).
using Observer =
    std::function<void(const std::string& name, const ChunkView& view,
                       int64_t row, const Tensor& value)>;

// Embedding, blocks, last norm, output embedding and loss (goldens README).
// Runs on chunks, in parts; knows nothing of ranks.
class LanguageModel : public ChunkProgram {
 public:
  // Parameters get their names of the official checkpoints. dtype: f32, f64 or
  // bf16 (runtime/precision.h).
  LanguageModel(Context& ctx, const ModelConfig& config, DType dtype);

  const ModelConfig& config() const { return config_; }
  ParameterStore& weights() { return *weights_; }
  const ParameterStore& weights() const { return *weights_; }
  const std::vector<Block>& blocks() const { return blocks_; }
  // [vocab,C], [C], [vocab,C]; the last as products read it.
  Tensor input_embedding() const { return weights_->value(embedding_); }
  Tensor final_norm() const { return weights_->value(norm_); }
  Tensor output_embedding() const { return weights_->operand(head_); }
  // The weights as products read them, from the masters: before the first
  // product that is to know a change. set_batch() does it, and a Decoder when
  // it is made.
  void round_weights(Context& ctx) const;

  // The batch that the next chunks belong to. Forgets the losses of the last.
  // Ids and targets go to the device and are given back on the host. Throws
  // InvalidArgument if a convolution looks back beyond a chunk, beyond the
  // tokens before a sequence that goes on, or, in the next step, beyond the
  // last chunk of this one, and naming sequence and place if an id isn't in
  // [0, vocab), or a target neither in it nor kIgnoredTarget.
  void set_batch(Context& ctx, ChunkedBatch batch);
  const ChunkedBatch& batch() const { return batch_; }
  // The losses of the batch's chunks, f64, in the order of micro-batches, their
  // chunks, and the sequences of each: the sum over its labels, weighted; 0 of
  // chunks that this rank hasn't run.
  const Tensor& losses() const { return losses_; }

  void set_inner_rate_multiplier(double multiplier);
  void set_observer(Observer observer) { observe_ = std::move(observer); }

  // Layers, borders and prices, the same on every rank.
  ScheduleShape schedule_shape() const;
  // Times that one chunk adds to the gradient of one parameter, at most.
  int64_t addends_per_chunk() const {
    return config_.tie_word_embeddings ? 2 : 1;
  }

  // Bytes that reserve_slabs() takes, and those that the backward pass of one
  // block on one chunk takes beside them, from kOutput to kConv.
  int64_t slab_bytes(int64_t num_slabs, int64_t members, int64_t tokens) const;
  int64_t backward_bytes(int64_t members, int64_t tokens) const;

  void reserve_slabs(Context& ctx, int64_t num_slabs, int64_t members,
                     int64_t tokens) override;
  ChunkView view(int64_t micro_batch, int64_t chunk) const override {
    return batch_.view(micro_batch, chunk);
  }
  Tensor make_border(Context& ctx, int64_t micro_batch,
                     LayerBorder border) const override {
    return make_borders(ctx, batch_.members(micro_batch), border);
  }
  // Of so many sequences, one after the other.
  Tensor make_borders(Context& ctx, int64_t members, LayerBorder border) const;
  void forward(Context& ctx, Part part, int64_t layer, const ChunkView& view,
               int slab, const Tensor& border_in, Tensor& border_out) override;
  void backward(Context& ctx, Part part, int64_t layer, const ChunkView& view,
                int slab, const Tensor& border_in, const Tensor& dborder_out,
                Tensor& dborder_in, GradientSum& gradients) override;

 private:
  struct Slab {
    std::vector<Block::Slab> blocks;  // of each layer; cold: one, for all
    Tensor y;                         // output of the last block
    Tensor halo, dhalo;               // layer 0's kHaloX and its gradient
    Tensor dx;                        // gradient of the residual stream
  };

  // The rows of a chunk of `members` sequences.
  ChunkRows rows_of(int64_t members, int64_t tokens) const;
  std::vector<Slab> make_slabs(Context& ctx, int64_t num_slabs,
                               const ChunkRows& rows) const;
  void make_slab(Context& ctx, const ChunkRows& rows, std::size_t blocks,
                 Slab& slab) const;
  Slab& slab(int index) { return slabs_.at(index + 1); }  // [0]: kColdSlab
  static Block::Slab& activations(Slab& slab, int64_t layer) {
    return slab.blocks[slab.blocks.size() == 1 ? 0 : layer];
  }
  // The input of a block; of the one after the last: the output.
  Tensor block_input(Slab& slab, int64_t layer, const ChunkView& view);
  void embed(Context& ctx, const ChunkView& view, Slab& slab);
  void embed_backward(Context& ctx, const ChunkView& view, Slab& slab,
                      GradientSum& gradients);
  void head(Context& ctx, const ChunkView& view, Slab& slab,
            GradientSum* gradients);
  void require_halo(std::span<const Sequence> sequences,
                    const MicroBatchShape& shape) const;
  void require_in_vocabulary(const Sequence& sequence, std::size_t index) const;
  void observe(const std::string& name, const ChunkView& view,
               const Tensor& value) const;
  // As many rows of a slab's halo as its chunk has.
  Tensor halos(const Tensor& tensor, const ChunkView& view) const;

  ModelConfig config_;
  std::vector<Block> blocks_;
  std::unique_ptr<ParameterStore> weights_;
  int64_t embedding_, norm_, head_;  // head_ == embedding_ if tied

  ChunkedBatch batch_;
  BatchTokens tokens_;
  std::vector<int64_t> first_losses_;  // slots, of each micro-batch
  Tensor losses_;
  std::vector<Slab> slabs_;
  ChunkRows slab_rows_{0, 0, 0};
  Observer observe_;
};

}  // namespace timepipe
