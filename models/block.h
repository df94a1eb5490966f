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
// run in four parts, between which its borders cross: halo_x, the rows of x in
// front of the chunk, [conv_kernel-1,C], and those of the layer, as in
// models/layers/sequence_layer.h. One process and many ranks run the same code.
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
  struct Slab {
    Tensor x, x1, u, x2, a, b;        // a, b: SwiGLU's factors [T,F]
    Tensor rstd_x, rstd_x1, rstd_x2;  // of the three norms [T]
    std::unique_ptr<SequenceLayer::Slab> layer;
    Tensor du;  // gradient of u, only in the backward
  };
  Slab make_slab(Context& ctx, const ChunkRows& rows) const;

  // Of a border that comes in; no elements: nothing crosses.
  Shape border_shape(Border border, int64_t members) const;

  // x1 and the layer's first projection, from slab.x.
  void conv(Context& ctx, const ChunkView& view, Slab& slab,
            const Tensor& halo_x_in, Tensor& halo_qk_out) const;
  void project(Context& ctx, const ChunkView& view, Slab& slab,
               const Tensor& halo_qk_in) const;
  void scan(Context& ctx, const ChunkView& view, Slab& slab,
            const Tensor& state_in, Tensor& state_out) const;
  // x2 and y [T,C], which may be slab.x.
  void output(Context& ctx, const ChunkView& view, Slab& slab, Tensor& y) const;

  // What output_backward() takes for the others and conv_backward() gives back.
  void take_gradients(Context& ctx, const ChunkRows& rows, Slab& slab) const;

  // In reverse. dx [T,C]: on entry of the first the gradient of y, after the
  // last that of x.
  void output_backward(Context& ctx, const ChunkView& view, Slab& slab,
                       Tensor& dx, GradientSum& gradients) const;
  void scan_backward(Context& ctx, const ChunkView& view, Slab& slab,
                     const Tensor& dstate_out, Tensor& dstate_in,
                     GradientSum& gradients) const;
  void project_backward(Context& ctx, const ChunkView& view, Slab& slab,
                        const Tensor& halo_qk_in, Tensor& dhalo_qk_in,
                        GradientSum& gradients) const;
  void conv_backward(Context& ctx, const ChunkView& view, Slab& slab,
                     const Tensor& halo_x_in, const Tensor& dhalo_qk_out,
                     Tensor& dhalo_x_in, Tensor& dx,
                     GradientSum& gradients) const;

 private:
  void convolve(Context& ctx, const ChunkView& view, Slab& slab,
                const Tensor& halo) const;
  void convolve_backward(Context& ctx, const ChunkView& view, Slab& slab,
                         const Tensor& halo, Tensor& dhalo, Tensor& dx,
                         GradientSum& gradients) const;
  void feed_forward(Context& ctx, const ChunkView& view, Slab& slab,
                    Tensor& y) const;
  void feed_forward_backward(Context& ctx, const ChunkView& view, Slab& slab,
                             Tensor& dx, GradientSum& gradients) const;

  Tensor weight(int64_t index) const { return weights_->value(index); }
  Tensor operand(int64_t index) const { return weights_->operand(index); }

  ModelConfig config_;
  std::unique_ptr<SequenceLayer> layer_;
  const ParameterStore* weights_ = nullptr;
  int64_t conv_norm_ = -1, conv_w_ = -1, conv_b_ = -1;  // only with pre_conv
  int64_t seq_norm_, ffn_norm_, gate_, up_, down_;
};

}  // namespace timepipe
