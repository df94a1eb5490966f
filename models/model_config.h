#pragma once

#include <cstdint>
#include <string>

#include "kernels/ttt_scan.h"

namespace timepipe {

// How the depthwise convolutions start (the official codes differ):
// kLecunNormal as in JAX (truncated normal of deviation 1/sqrt(k), bias 0),
// kTorchUniform as in PyTorch (weight and bias uniform in +-1/sqrt(k)).
enum class ConvInit { kLecunNormal, kTorchUniform };

// What a model is, with the names and defaults of the official configuration
// where it has them. Plain values: configs/ and Hugging Face's config.json both
// end up here.
struct ModelConfig {
  int64_t vocab_size = 256;
  int64_t hidden_size = 256;
  int64_t intermediate_size = 688;
  int64_t num_layers = 4;
  int64_t num_heads = 4;
  int64_t mini_batch_size = 16;
  int64_t conv_kernel = 4;
  InnerModel inner = InnerModel::kLinear;
  bool use_gate = false;
  bool share_qk = false;
  bool pre_conv = false;
  bool tie_word_embeddings = true;
  double ttt_base_lr = 1.0;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  ConvInit conv_init = ConvInit::kLecunNormal;

  int64_t head_size() const { return hidden_size / num_heads; }
  TttShape ttt_shape() const {
    return {inner, num_heads, head_size(), mini_batch_size};
  }
  // Rows of a convolution's halo, 0 if no layer has a convolution.
  int64_t halo_rows() const {
    return pre_conv || share_qk ? conv_kernel - 1 : 0;
  }
  // What a convolution looks back to.
  Shape halo_shape(int64_t members) const {
    return {members * (conv_kernel - 1), hidden_size};
  }
};

// Throws InvalidArgument that names field, value and what is allowed.
void validate(const ModelConfig& config);

}  // namespace timepipe
