#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/language_model.h"

namespace timepipe {

// What a model remembers of the tokens it has read.
struct HiddenState {
  // tokens_read % mini_batch is the position inside the mini-batch.
  int64_t tokens_read = 0;

  // Flat tensors; empty if the model has none of it, or at a document's start.
  struct Layer {
    Tensor state;         // inner weights at the start of this mini-batch
    Tensor gradient_sum;  // of this mini-batch's tokens (kernels/ttt_decode.h)
    Tensor halo_x, halo_qk;  // rows that the convolutions look back to
  };
  std::vector<Layer> layers;
};

// The state before the first token: the learned weights, zero sums, no rows.
HiddenState learned_start(Context& ctx, const LanguageModel& model);

// Safetensors; the metadata holds the model's shape. Throws IoError.
void save_hidden_state(const std::string& path, const HiddenState& state,
                       const ModelConfig& config);
// Throws InvalidArgument naming the first difference from the model's shape.
HiddenState load_hidden_state(const std::string& path,
                              const ModelConfig& config, DType dtype);

}  // namespace timepipe
