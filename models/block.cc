// Forward and backward of a block around its sequence layer.

#include "models/block.h"

#include <utility>

#include "kernels/causal_conv.h"
#include "kernels/pointwise.h"
#include "kernels/rmsnorm.h"
#include "runtime/transfer.h"

namespace timepipe {
Block::Block(const ModelConfig& config, const std::string& prefix,
             ParameterLayout& layout, std::unique_ptr<SequenceLayer> layer)
    : config_(config), layer_(std::move(layer)) {
  const int64_t C = config.hidden_size, F = config.intermediate_size;
  const auto add = [&](const char* name, Shape shape) {
    return layout.add(prefix + name, std::move(shape));
  };
  gate_ = add("mlp.gate_proj.weight", {F, C});
  up_ = add("mlp.up_proj.weight", {F, C});
  down_ = add("mlp.down_proj.weight", {C, F});
  if (config.pre_conv) {
    conv_norm_ = add("conv.norm.weight", {C});
    conv_w_ = add("conv.conv.weight", {C, 1, config.conv_kernel});
    conv_b_ = add("conv.conv.bias", {C});
  }
  seq_norm_ = add("seq_norm.weight", {C});
  ffn_norm_ = add("ffn_norm.weight", {C});
}

void Block::bind(const ParameterStore& weights) {
  weights_ = &weights;
  layer_->bind(weights);
}

Block::Slab Block::make_slab(Context& ctx, const ChunkRows& chunk) const {
  const int64_t T = chunk.count();
  Slab slab;
  const auto [compute, state, master] = weights_->precision();
  const auto take = [&](Shape shape, DType dtype) {
    return ctx.allocate(std::move(shape), dtype, MemoryUse::kActivations);
  };
  const Shape rows{T, config_.hidden_size};
  for (Tensor* t : {&slab.x, &slab.x2}) *t = take(rows, state);
  slab.x1 = config_.pre_conv ? take(rows, state) : slab.x;
  slab.u = take(rows, compute);
  for (Tensor* t : {&slab.a, &slab.b}) {
    *t = take({T, config_.intermediate_size}, compute);
  }
  for (Tensor* t : {&slab.rstd_x, &slab.rstd_x1, &slab.rstd_x2}) {
    *t = take({T}, state);
  }
  slab.layer = layer_->make_slab(ctx, chunk);
  return slab;
}

Shape Block::border_shape(Border border, int64_t members) const {
  if (border != Border::kHaloX) return layer_->border_shape(border, members);
  return config_.pre_conv ? config_.halo_shape(members) : Shape{0};
}

void Block::conv(Context& ctx, const ChunkView& view, Slab& slab,
                 const Tensor& halo_x_in, Tensor& halo_qk_out) const {
  if (config_.pre_conv) convolve(ctx, view, slab, halo_x_in);
  Tensor u = rows(slab.u, view), rstd = rows(slab.rstd_x1, view);
  rmsnorm_forward(ctx, rows(slab.x1, view), weight(seq_norm_),
                  config_.rms_norm_eps, u, rstd);
  layer_->project_qk(ctx, view, u, *slab.layer, halo_qk_out);
}

void Block::project(Context& ctx, const ChunkView& view, Slab& slab,
                    const Tensor& halo_qk_in) const {
  layer_->project(ctx, view, rows(slab.u, view), *slab.layer, halo_qk_in);
}

void Block::scan(Context& ctx, const ChunkView& view, Slab& slab,
                 const Tensor& state_in, Tensor& state_out) const {
  layer_->scan(ctx, view, *slab.layer, state_in, state_out);
}

void Block::output(Context& ctx, const ChunkView& view, Slab& slab,
                   Tensor& y) const {
  Tensor x2 = rows(slab.x2, view);
  copy(ctx, rows(slab.x1, view), x2);
  layer_->output(ctx, view, *slab.layer, x2);
  feed_forward(ctx, view, slab, y);
}

// x1 = x + conv(RMSNorm(x)); the halo holds rows of x and is normed here.
void Block::convolve(Context& ctx, const ChunkView& view, Slab& slab,
                     const Tensor& halo) const {
  const Tensor x = rows(slab.x, view);
  const Tensor w = weight(conv_norm_);
  Tensor n = ctx.allocate(x.shape(), x.dtype());
  Tensor rstd = rows(slab.rstd_x, view);
  rmsnorm_forward(ctx, x, w, config_.rms_norm_eps, n, rstd);
  Tensor halo_n;
  if (!halo.empty()) {
    halo_n = ctx.allocate(halo.shape(), x.dtype());
    Tensor halo_rstd = ctx.allocate({halo.dim(0)}, x.dtype());
    rmsnorm_forward(ctx, halo, w, config_.rms_norm_eps, halo_n, halo_rstd);
  }
  Tensor x1 = rows(slab.x1, view);
  causal_conv_forward(ctx, n, halo_n, weight(conv_w_), weight(conv_b_),
                      view.segments, x1);
  add(ctx, x, x1);
}

// y = x2 + down(silu(gate(m)) * up(m)).
void Block::feed_forward(Context& ctx, const ChunkView& view, Slab& slab,
                         Tensor& y) const {
  const Tensor x2 = rows(slab.x2, view);
  Tensor a = rows(slab.a, view), b = rows(slab.b, view);
  Tensor rstd = rows(slab.rstd_x2, view);
  Tensor m = ctx.allocate(x2.shape(), a.dtype());
  rmsnorm_forward(ctx, x2, weight(ffn_norm_), config_.rms_norm_eps, m, rstd);
  linear_forward(ctx, m, operand(gate_), a);
  linear_forward(ctx, m, operand(up_), b);
  Tensor h = ctx.allocate(a.shape(), a.dtype());
  swiglu_forward(ctx, a, b, h);
  copy(ctx, x2, y);
  linear_forward(ctx, h, operand(down_), y, Write::kAdd);
}

void Block::take_gradients(Context& ctx, const ChunkRows& rows,
                           Slab& slab) const {
  slab.du = ctx.allocate({rows.count(), config_.hidden_size},
                         weights_->precision().state, MemoryUse::kActivations);
  layer_->take_gradients(ctx, rows, *slab.layer);
}

void Block::output_backward(Context& ctx, const ChunkView& view, Slab& slab,
                            Tensor& dx, GradientSum& gradients) const {
  feed_forward_backward(ctx, view, slab, dx, gradients);
  take_gradients(ctx, view.rows, slab);
  // dx is now the gradient of x2, and thus that of the layer's output.
  layer_->output_backward(ctx, view, *slab.layer, dx, gradients);
}

void Block::scan_backward(Context& ctx, const ChunkView& view, Slab& slab,
                          const Tensor& dstate_out, Tensor& dstate_in,
                          GradientSum& gradients) const {
  layer_->scan_backward(ctx, view, *slab.layer, dstate_out, dstate_in,
                        gradients);
}

void Block::project_backward(Context& ctx, const ChunkView& view, Slab& slab,
                             const Tensor& halo_qk_in, Tensor& dhalo_qk_in,
                             GradientSum& gradients) const {
  layer_->project_backward(ctx, view, rows(slab.u, view), *slab.layer,
                           halo_qk_in, dhalo_qk_in, slab.du, gradients);
}

void Block::conv_backward(Context& ctx, const ChunkView& view, Slab& slab,
                          const Tensor& halo_x_in, const Tensor& dhalo_qk_out,
                          Tensor& dhalo_x_in, Tensor& dx,
                          GradientSum& gradients) const {
  layer_->project_qk_backward(ctx, view, rows(slab.u, view), *slab.layer,
                              dhalo_qk_out, slab.du, gradients);
  add_gradient(ctx, *weights_, seq_norm_, gradients, [&](Tensor& dw) {
    rmsnorm_backward(ctx, slab.du, rows(slab.x1, view), weight(seq_norm_),
                     rows(slab.rstd_x1, view), dx, Write::kAdd, dw,
                     Write::kOverwrite);
  });
  slab.du = {};
  if (config_.pre_conv) {
    convolve_backward(ctx, view, slab, halo_x_in, dhalo_x_in, dx, gradients);
  }
}

// dx: gradient of y on entry, of x2 on return.
void Block::feed_forward_backward(Context& ctx, const ChunkView& view,
                                  Slab& slab, Tensor& dx,
                                  GradientSum& gradients) const {
  const Tensor x2 = rows(slab.x2, view);
  const Tensor a = rows(slab.a, view), b = rows(slab.b, view);
  Tensor rstd = rows(slab.rstd_x2, view);
  const auto scratch = [&](const Tensor& like) {
    return ctx.allocate(like.shape(), like.dtype());
  };
  Tensor h = scratch(a), dh = scratch(a), da = scratch(a), db = scratch(a);
  swiglu_forward(ctx, a, b, h);
  linear_backward(ctx, operand_of(ctx, dx, weights_->precision()), h, *weights_,
                  down_, dh, Write::kOverwrite, gradients);
  swiglu_backward(ctx, dh, a, b, da, db);
  Tensor m = ctx.allocate(x2.shape(), a.dtype()), dm = scratch(x2);
  rmsnorm_forward(ctx, x2, weight(ffn_norm_), config_.rms_norm_eps, m, rstd);
  linear_backward(ctx, da, m, *weights_, gate_, dm, Write::kOverwrite,
                  gradients);
  linear_backward(ctx, db, m, *weights_, up_, dm, Write::kAdd, gradients);
  add_gradient(ctx, *weights_, ffn_norm_, gradients, [&](Tensor& dw) {
    rmsnorm_backward(ctx, dm, x2, weight(ffn_norm_), rstd, dx, Write::kAdd, dw,
                     Write::kOverwrite);
  });
}

// dx: gradient of x1 on entry, of x on return. The halo's rows go through the
// norm as well: their share of its weight gradient belongs to this chunk.
void Block::convolve_backward(Context& ctx, const ChunkView& view, Slab& slab,
                              const Tensor& halo, Tensor& dhalo, Tensor& dx,
                              GradientSum& gradients) const {
  const Tensor x = rows(slab.x, view), w = weight(conv_norm_);
  Tensor rstd = rows(slab.rstd_x, view);
  const auto scratch = [&](Shape shape) {
    return ctx.allocate(std::move(shape), x.dtype());
  };
  Tensor n = scratch(x.shape()), dn = scratch(x.shape());
  rmsnorm_forward(ctx, x, w, config_.rms_norm_eps, n, rstd);
  Tensor halo_n, halo_rstd, dhalo_n;
  if (!halo.empty()) {
    halo_n = scratch(halo.shape()), dhalo_n = scratch(halo.shape());
    halo_rstd = scratch({halo.dim(0)});
    rmsnorm_forward(ctx, halo, w, config_.rms_norm_eps, halo_n, halo_rstd);
  }
  add_gradient(ctx, *weights_, conv_w_, gradients, [&](Tensor& dconv) {
    add_gradient(ctx, *weights_, conv_b_, gradients, [&](Tensor& dbias) {
      causal_conv_backward(ctx, dx, n, halo_n, weight(conv_w_), view.segments,
                           dn, dhalo_n, Write::kOverwrite, dconv, dbias);
    });
  });
  add_gradient(ctx, *weights_, conv_norm_, gradients, [&](Tensor& dw) {
    rmsnorm_backward(ctx, dn, x, w, rstd, dx, Write::kAdd, dw,
                     Write::kOverwrite);
    if (halo.empty()) return;
    Tensor dhalo_x = dhalo.empty() ? scratch(halo.shape()) : dhalo;
    rmsnorm_backward(ctx, dhalo_n, halo, w, halo_rstd, dhalo_x,
                     Write::kOverwrite, dw, Write::kAdd);
  });
}

}  // namespace timepipe
