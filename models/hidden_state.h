#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "runtime/safetensors.h"

namespace timepipe {

// What a model remembers of the tokens that it has read: as much after a
// million of them as after one.
struct HiddenState {
  // tokens_read % mini_batch_size is the place inside the mini-batch.
  int64_t tokens_read = 0;

  // As Block::border_shape() has them, of the model's dtype; those that the
  // model doesn't have are empty.
  struct Layer {
    Tensor state;         // inner weights at the start of this mini-batch
    Tensor gradient_sum;  // of this mini-batch's tokens (kernels/ttt_decode.h)
    Tensor halo_x, halo_qk;  // rows that the convolutions look back to, the
                             // last min(conv_kernel - 1, tokens_read) of them
  };
  std::vector<Layer> layers;
};

// The state before the first token: the learned weights, zero sums, no rows.
HiddenState learned_start(Context& ctx, const LanguageModel& model);
HiddenState copy(Context& ctx, const HiddenState& state);

// A safetensors file, whole or not at all: tensors "layers.0.state", ...; the
// metadata has tokens_read and the sizes of the model. Throws IoError.
void save_hidden_state(Context& ctx, const std::string& path,
                       const HiddenState& state, const ModelConfig& config);
// The tokens_read of a file with this header; a pure function. Throws
// InvalidArgument ("WHERE: what") naming the first difference from the sizes of
// the model and the tensors of `like`, a state of it.
int64_t check_hidden_state(const SafetensorsHeader& header,
                           const std::string& where, const HiddenState& like,
                           const ModelConfig& config);
// Throws IoError, or InvalidArgument ("WHERE: what") naming the first
// difference from what the model remembers, or what else the file is. f32 and
// f64 are converted.
HiddenState load_hidden_state(Context& ctx, const std::string& path,
                              const LanguageModel& model,
                              const std::string& where);

}  // namespace timepipe
