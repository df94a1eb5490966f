#include "models/model_size.h"

#include <string>

namespace timepipe {
namespace {

bool contains(const std::string& name, const char* piece) {
  return name.find(piece) != std::string::npos;
}

}  // namespace

ParameterCount count_parameters(const ParameterLayout& layout) {
  ParameterCount count;
  for (const Parameter& p : layout.parameters()) {
    if (contains(p.name, "embed_tokens") || contains(p.name, "lm_head")) {
      count.embedding += p.count;
    } else if (contains(p.name, ".seq_modeling_block.") ||
               contains(p.name, ".conv.")) {
      count.layers += p.count;
    } else if (contains(p.name, ".mlp.")) {
      count.mlps += p.count;
    } else {
      count.norms += p.count;
    }
  }
  return count;
}

int64_t inner_model_price(const ModelConfig& config) {
  const int64_t C = config.hidden_size, D = config.head_size();
  const int64_t b = config.mini_batch_size;
  return config.inner == InnerModel::kLinear ? C * (3 * D + 2 * b)
                                             : C * (28 * D + 10 * b);
}

double forward_flops_per_token(const ModelConfig& config) {
  const int64_t C = config.hidden_size, F = config.intermediate_size;
  const int64_t projections =
      3 + (config.share_qk ? 0 : 1) + (config.use_gate ? 1 : 0);
  const int64_t layer =
      projections * C * C + inner_model_price(config) + 3 * C * F;
  // As f64: at the largest sizes that may be set it is more than 2^63.
  return 2.0 *
         (static_cast<double>(config.num_layers) * static_cast<double>(layer) +
          static_cast<double>(C * config.vocab_size));
}

double training_flops_per_token(const ModelConfig& config) {
  return 3 * forward_flops_per_token(config);
}

}  // namespace timepipe
