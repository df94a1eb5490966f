#pragma once

#include <memory>
#include <string>

#include "models/layers/sequence_layer.h"
#include "models/model_config.h"

namespace timepipe {

// The one switch over layer kinds. Adds the layer's parameters to `layout`
// under `prefix` + official name.
std::unique_ptr<SequenceLayer> make_sequence_layer(const ModelConfig& config,
                                                   const std::string& prefix,
                                                   ParameterLayout& layout);

// Random start as in the official training code: N(0, initializer_range) for
// embeddings, projections, the inner rate's weight and the learned W1, W2; ones
// for norm weights; zeros for biases and learnable_token_idx; convolutions as
// config.conv_init says. A pure function of seed and parameter names.
void initialise(Context& ctx, const ModelConfig& config, uint64_t seed,
                ParameterStore& weights);

}  // namespace timepipe
