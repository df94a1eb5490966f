#pragma once

#include <memory>
#include <string>

#include "models/layers/sequence_layer.h"
#include "models/model_config.h"

namespace timepipe {

// The TTT layer (Sun et al. 2024, arXiv:2407.04620), TTT-Linear or TTT-MLP:
//   q, k, v = Wq u, Wk u, Wv u   or, sharing q and k,
//   p = Wq u,  q, k = conv_q(p), conv_k(p),  v = Wv u
//   y = Wo ( LN(scan(rope(q), rope(k), v)) [* gelu(Wg u)] )
// The scan is kernels/ttt_scan.h; its state is what travels between chunks.
class TttLayer : public SequenceLayer {
 public:
  // Adds the layer's parameters, named `prefix` + official name.
  TttLayer(const ModelConfig& config, const std::string& prefix,
           ParameterLayout& layout);

  void bind(const ParameterStore& weights) override { weights_ = &weights; }
  void set_inner_rate_multiplier(double multiplier) override {
    multiplier_ = multiplier;
  }

  std::unique_ptr<Slab> make_slab(Context& ctx,
                                  const ChunkRows& rows) const override;
  Shape border_shape(Border border, int64_t members) const override;
  void project_qk(Context& ctx, const ChunkView& view, const Tensor& u,
                  Slab& slab, Tensor& halo_qk_out) const override;
  void project(Context& ctx, const ChunkView& view, const Tensor& u, Slab& slab,
               const Tensor& halo_qk_in) const override;
  void scan(Context& ctx, const ChunkView& view, Slab& slab,
            const Tensor& state_in, Tensor& state_out) const override;
  void output(Context& ctx, const ChunkView& view, Slab& slab,
              Tensor& y) const override;
  Tensor start_state(Context& ctx) const override { return learned_start(ctx); }
  void scan_part(Context& ctx, const ChunkView& view, Slab& slab, Tensor& state,
                 Tensor& gradient_sum) const override;
  void inspect(const Slab& slab, const ChunkView& view,
               const std::function<void(const char* name, const Tensor& value)>&
                   see) const override;
  void take_gradients(Context& ctx, const ChunkRows& rows,
                      Slab& slab) const override;
  void output_backward(Context& ctx, const ChunkView& view, Slab& slab,
                       const Tensor& dy, GradientSum& gradients) const override;
  void scan_backward(Context& ctx, const ChunkView& view, Slab& slab,
                     const Tensor& dstate_out, Tensor& dstate_in,
                     GradientSum& gradients) const override;
  void project_backward(Context& ctx, const ChunkView& view, const Tensor& u,
                        Slab& slab, const Tensor& halo_qk_in,
                        Tensor& dhalo_qk_in, Tensor& du,
                        GradientSum& gradients) const override;
  void project_qk_backward(Context& ctx, const ChunkView& view, const Tensor& u,
                           Slab& slab, const Tensor& dhalo_qk_out, Tensor& du,
                           GradientSum& gradients) const override;

 private:
  static constexpr double kPostNormEps = 1e-6;

  struct TttSlab : Slab {
    Tensor p;                  // shared q/k projection, only if shared
    Tensor xq, xk, xv;         // after convolution and RoPE
    Tensor g;                  // gate projection, only if gated
    Tensor gate, lr;           // inner rate [T,H]
    Tensor tok;                // scale per place in a mini-batch [b]
    Tensor kept;               // by the scan, for its backward
    Tensor o, o_mean, o_rstd;  // output of the scan; statistics of its norm

    // Gradients of the same, and of what the scan reads of the weights.
    struct Gradients {
      Tensor p, xq, xk, xv, g, lr, o;
      Tensor tok, ln_w, ln_b;
      Tensor passed;  // from part to part of the scan's backward
    } d;
  };

  Tensor weight(int64_t index) const { return weights_->value(index); }
  Tensor operand(int64_t index) const { return weights_->operand(index); }
  // Room for the norm of o: an operand, unless it goes through the gate first.
  Tensor take_norm(Context& ctx, const Tensor& o) const;
  TttScan scan_of(const TttSlab& slab, const ChunkView& view) const;
  static TttScanGradients scan_gradients_of(const TttSlab& slab);
  Tensor learned_start(Context& ctx) const;
  double rate_scale() const;

  ModelConfig config_;
  TttShape shape_;
  const ParameterStore* weights_ = nullptr;
  double multiplier_ = 1.0;
  // Indices of the parameters; those of parts that are off are -1.
  int64_t wq_, wk_ = -1, wv_, wo_, wg_ = -1;
  int64_t conv_q_w_ = -1, conv_q_b_ = -1, conv_k_w_ = -1, conv_k_b_ = -1;
  int64_t token_idx_, rate_w_, rate_b_, ln_w_, ln_b_, post_w_, post_b_;
  std::vector<int64_t> start_;  // W1, b1 [, W2, b2]
};

}  // namespace timepipe
