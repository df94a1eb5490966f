#include "models/model_size.h"

#include <gtest/gtest.h>

#include "models/language_model.h"

namespace timepipe {
namespace {

ParameterCount count(const ModelConfig& config) {
  Context ctx;
  return count_parameters(
      LanguageModel(ctx, config, DType::kF32).weights().layout());
}

ModelConfig small(bool mamba) {
  ModelConfig config;
  config.vocab_size = 100;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.num_layers = 3;
  config.num_heads = 2;
  config.use_gate = config.share_qk = config.pre_conv = mamba;
  return config;
}

TEST(ModelSize, CountsParametersByPart) {
  const ParameterCount transformer = count(small(false));
  EXPECT_EQ(transformer.embedding, 100 * 8);
  EXPECT_EQ(transformer.mlps, 3 * 3 * 8 * 12);
  EXPECT_EQ(transformer.norms, 3 * 2 * 8 + 8);
  // Four projections, W1 and b1 of two heads, their norm, the inner rate's
  // weight and bias, learnable_token_idx, the norm after the scan.
  EXPECT_EQ(transformer.layers,
            3 * (4 * 64 + 2 * (16 + 4) + 2 * 8 + 2 * (8 + 1) + 16 + 2 * 8));
  // One projection becomes the gate; three convolutions of four taps and a
  // bias, and a norm in front of the first.
  const ParameterCount mamba = count(small(true));
  EXPECT_EQ(mamba.layers - transformer.layers, 3 * (3 * 5 * 8 + 8));

  ModelConfig untied = small(false);
  untied.tie_word_embeddings = false;
  EXPECT_EQ(count(untied).embedding, 2 * 100 * 8);
  EXPECT_EQ(count(untied).total(), transformer.total() + 100 * 8);
}

TEST(ModelSize, CountsOperationsOfTheEquations) {
  // Per layer: 4 C C + C (3 D + 2 b) + 3 C F; and C * vocabulary.
  EXPECT_EQ(forward_flops_per_token(small(false)),
            2 * (3 * (4 * 64 + 8 * (3 * 4 + 2 * 16) + 3 * 8 * 12) + 8 * 100));
  EXPECT_EQ(forward_flops_per_token(small(true)),
            forward_flops_per_token(small(false)));
  ModelConfig mlp = small(false);
  mlp.inner = InnerModel::kMlp;
  EXPECT_EQ(
      forward_flops_per_token(mlp) - forward_flops_per_token(small(false)),
      2 * 3 * 8 * (25 * 4 + 8 * 16));
  EXPECT_EQ(training_flops_per_token(mlp), 3 * forward_flops_per_token(mlp));
}

TEST(ModelSize, CountsOperationsOfTheLargestModel) {
  constexpr int64_t kLargest = 1 << 20;
  ModelConfig config = small(false);
  config.inner = InnerModel::kMlp;
  config.hidden_size = config.intermediate_size = config.num_layers =
      config.vocab_size = config.mini_batch_size = kLargest;
  config.num_heads = 1;
  validate(config);
  // 4 C C + C (28 C + 10 C) + 3 C C = 45 C^2, and the vocabulary's C^2.
  EXPECT_EQ(forward_flops_per_token(config), 2 * (45 * 0x1p60 + 0x1p40));
}

}  // namespace
}  // namespace timepipe
