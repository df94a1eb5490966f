#pragma once

#include <memory>
#include <string>

#include "models/layers/sequence_layer.h"
#include "models/model_config.h"

namespace timepipe {

// One block of the language model on one chunk:
//   x1 = x + conv(RMSNorm(x))        only with pre_conv; else x1 = x
//   x2 = x1 + layer(RMSNorm(x1))
//   y  = x2 + down(silu(gate(m)) * up(m)),  m = RMSNorm(x2)
// run in the parts kConv (x1 and the layer's first projection), kProject,
// kScan, kOutput, between which its borders cross. One process and many ranks
// run the same code.
class Block {
 public:
  // `layer`: made with the same layout, under "<prefix>seq_modeling_block.".
  Block(const ModelConfig& config, const std::string& prefix,
        ParameterLayout& layout, std::unique_ptr<SequenceLayer> layer);

  // The weights, once they are there. They must outlive the block.
  void bind(const ParameterStore& weights);
  SequenceLayer& layer() { return *layer_; }
  const SequenceLayer& layer() const { return *layer_; }

  // Activations of one chunk in this block.
  struct Lane {
    Tensor x, x1, u, x2, a, b;        // a, b: SwiGLU's factors [T,F]
    Tensor rstd_x, rstd_x1, rstd_x2;  // of the three norms [T]
    std::unique_ptr<SequenceLayer::Lane> layer;
    Tensor du;  // gradient of u, from kOutput's backward to kConv's
  };
  Lane make_lane(Context& ctx, int64_t tokens) const;

  // Elements that backward() takes in kOutput and gives back in kConv.
  int64_t backward_elements(int64_t tokens) const {
    return tokens * config_.hidden_size + layer_->backward_elements(tokens);
  }

  int64_t border_elements(Border border) const;

  // Reads lane.x; kOutput writes y [T,C], which may be lane.x.
  void forward(Context& ctx, Part part, const ChunkView& view, Lane& lane,
               const Tensor& border_in, Tensor& border_out, Tensor& y) const;

  // dx [T,C]: on entry of kOutput the gradient of y, after kConv that of x.
  void backward(Context& ctx, Part part, const ChunkView& view, Lane& lane,
                const Tensor& border_in, const Tensor& dborder_out,
                Tensor& dborder_in, Tensor& dx, GradientSum& gradients) const;

 private:
  void convolve(Context& ctx, const ChunkView& view, Lane& lane,
                const Tensor& halo) const;
  void convolve_backward(Context& ctx, const ChunkView& view, Lane& lane,
                         const Tensor& halo, Tensor& dhalo, Tensor& dx,
                         GradientSum& gradients) const;
  void feed_forward(Context& ctx, const ChunkView& view, Lane& lane,
                    Tensor& y) const;
  void feed_forward_backward(Context& ctx, const ChunkView& view, Lane& lane,
                             Tensor& dx, GradientSum& gradients) const;

  Tensor weight(int64_t index) const { return weights_->value(index); }
  Shape halo_shape() const {
    return {config_.conv_kernel - 1, config_.hidden_size};
  }

  ModelConfig config_;
  std::unique_ptr<SequenceLayer> layer_;
  const ParameterStore* weights_ = nullptr;
  int64_t conv_norm_ = -1, conv_w_ = -1, conv_b_ = -1;  // only with pre_conv
  int64_t seq_norm_, ffn_norm_, gate_, up_, down_;
};

}  // namespace timepipe
