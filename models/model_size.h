#pragma once

#include "models/model_config.h"
#include "runtime/parameter.h"

namespace timepipe {

// Parameters of a model, by part.
struct ParameterCount {
  int64_t embedding = 0;  // input, and output if it isn't tied
  int64_t layers = 0;     // of the TTT layers, their convolutions and the
                          // learned start of their inner models included
  int64_t mlps = 0;
  int64_t norms = 0;  // RMSNorms of blocks and model

  int64_t total() const { return embedding + layers + mlps + norms; }
};

ParameterCount count_parameters(const ParameterLayout& layout);

// Floating-point operations that the model's equations need for one token, two
// for every multiply-add of a product; norms, activations and convolutions are
// left out. Per layer of width C, MLP width F, head size D, mini-batch b:
//   projections  q, v, o [, k] [, gate]   C C each
//   inner model  linear: C (3 D + 2 b)    mlp: C (28 D + 10 b)
//   MLP          3 C F
// and the output embedding C * vocab_size. The inner loop counts as in dual
// form: linear Z = K W, Q K^T, T H, Q W, K^T H (kernels/ttt_scan.h).
double forward_flops_per_token(const ModelConfig& config);
// With the backward pass, twice the forward's. Recomputation isn't counted:
// the figure says what the result needs, not what is done for it.
double training_flops_per_token(const ModelConfig& config);

// Multiply-adds of one layer's inner model per token, as above.
int64_t inner_model_price(const ModelConfig& config);

}  // namespace timepipe
