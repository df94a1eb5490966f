#pragma once

#include <vector>

#include "models/batch.h"
#include "models/model_config.h"
#include "runtime/context.h"

namespace timepipe {

// Ids and targets of a batch on the device, as chunks read them: the rows of a
// micro-batch's chunks one after the other. Rows of padding have id 0 and no
// label. i64, but for the scales.
class BatchTokens {
 public:
  BatchTokens() = default;
  // Takes the tokens out of the batch.
  BatchTokens(Context& ctx, const ModelConfig& config, ChunkedBatch& batch);

  // [rows.count()] of a chunk.
  Tensor ids(const ChunkView& view) const;
  Tensor targets(const ChunkView& view) const;
  // Of the rows that the first convolution looks back to,
  // [members*(conv_kernel-1)]; empty unless it looks back in some sequence.
  Tensor halo_ids(const ChunkView& view) const;
  // Weights of a label in the loss, f64, [members].
  const Tensor& loss_scales(const ChunkView& view) const {
    return micro_batches_[view.micro_batch].loss_scales;
  }

 private:
  struct MicroBatch {
    Tensor ids, targets, halo_ids, loss_scales;
  };
  MicroBatch upload_tokens(Context& ctx, ChunkedBatch& batch,
                           int64_t micro_batch, int64_t chunks) const;

  int64_t halo_ = 0;  // rows, of one sequence
  std::vector<MicroBatch> micro_batches_;
};

}  // namespace timepipe
