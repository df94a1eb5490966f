// The backward pass of the TTT layer.

#include <utility>

#include "kernels/causal_conv.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/pointwise.h"
#include "kernels/rope.h"
#include "models/layers/ttt.h"

namespace timepipe {

void TttLayer::backward(Context& ctx, Part part, const ChunkView& view,
                        const Tensor& u, Lane& base, const Tensor& border_in,
                        const Tensor& dborder_out, Tensor& dborder_in,
                        const Tensor& dy, Tensor& du,
                        GradientSum& gradients) const {
  auto& lane = static_cast<TttLane&>(base);
  if (part == Part::kOutput) {
    take_gradients(ctx, view, lane);
    output_backward(ctx, view, lane, dy, gradients);
  }
  if (part == Part::kScan) {
    scan_backward(ctx, view, lane, dborder_out, dborder_in, gradients);
  }
  if (part == Part::kProject) {
    project_backward(ctx, view, u, lane, border_in, dborder_in, du, gradients);
  }
  if (part != Part::kConv) return;
  if (config_.share_qk) {
    if (!dborder_out.empty()) {
      add_to_last_rows(
          ctx,
          dborder_out.reshape({config_.conv_kernel - 1, config_.hidden_size}),
          lane.d.p);
    }
    linear_backward(ctx, lane.d.p, u, *weights_, wq_, du, Write::kAdd,
                    gradients);
  }
  lane.d = {};
}

void TttLayer::take_gradients(Context& ctx, const ChunkView& view,
                              TttLane& lane) const {
  const auto take = [&](int64_t columns) {
    return ctx.allocate({view.tokens, columns}, weights_->dtype(),
                        MemoryUse::kActivations);
  };
  for (Tensor* t : {&lane.d.xq, &lane.d.xk, &lane.d.xv, &lane.d.o}) {
    *t = take(config_.hidden_size);
  }
  lane.d.lr = take(config_.num_heads);
  if (config_.share_qk) lane.d.p = take(config_.hidden_size);
  if (config_.use_gate) lane.d.g = take(config_.hidden_size);
}

void TttLayer::output_backward(Context& ctx, const ChunkView& view,
                               TttLane& lane, const Tensor& dy,
                               GradientSum& gradients) const {
  const Tensor o = rows(lane.o, view);
  Tensor mean = rows(lane.o_mean, view), rstd = rows(lane.o_rstd, view);
  Tensor n = ctx.allocate(dy.shape(), dy.dtype());
  layernorm_forward(ctx, o, weight(post_w_), weight(post_b_), kPostNormEps, n,
                    mean, rstd);
  Tensor dn = ctx.allocate(dy.shape(), dy.dtype());
  if (config_.use_gate) {
    const Tensor g = rows(lane.g, view);
    Tensor z = ctx.allocate(dy.shape(), dy.dtype());
    Tensor dz = ctx.allocate(dy.shape(), dy.dtype());
    gelu_gate_forward(ctx, n, g, z);
    linear_backward(ctx, dy, z, *weights_, wo_, dz, Write::kOverwrite,
                    gradients);
    gelu_gate_backward(ctx, dz, n, g, dn, lane.d.g);
  } else {
    linear_backward(ctx, dy, n, *weights_, wo_, dn, Write::kOverwrite,
                    gradients);
  }
  add_gradient(ctx, *weights_, post_w_, gradients, [&](Tensor& dw) {
    add_gradient(ctx, *weights_, post_b_, gradients, [&](Tensor& db) {
      layernorm_backward(ctx, dn, o, weight(post_w_), mean, rstd, lane.d.o, dw,
                         db);
    });
  });
}

void TttLayer::scan_backward(Context& ctx, const ChunkView& view, TttLane& lane,
                             const Tensor& dstate_out, Tensor& dstate_in,
                             GradientSum& gradients) const {
  const DType dtype = weights_->dtype();
  const Tensor token_idx = weight(token_idx_);
  Tensor dtok = ctx.allocate(token_idx.shape(), dtype);
  Tensor dln_w = ctx.allocate(weight(ln_w_).shape(), dtype);
  Tensor dln_b = ctx.allocate(weight(ln_b_).shape(), dtype);
  Tensor dstart = ctx.allocate({shape_.state_size()}, dtype);
  Tensor unwanted;  // of a state that no chunk takes the gradient of
  if (dstate_in.empty()) unwanted = ctx.allocate(dstart.shape(), dtype);
  ttt_scan_backward(ctx, {.shape = shape_,
                          .xq = rows(lane.xq, view),
                          .xk = rows(lane.xk, view),
                          .xv = rows(lane.xv, view),
                          .lr = rows(lane.lr, view),
                          .tok = token_scale(ctx),
                          .ln_w = weight(ln_w_),
                          .ln_b = weight(ln_b_),
                          .start = learned_start(ctx),
                          .segments = view.segments,
                          .kept = kept_of(lane, view),
                          .dy = lane.d.o,
                          .dstate_out = dstate_out,
                          .dxq = lane.d.xq,
                          .dxk = lane.d.xk,
                          .dxv = lane.d.xv,
                          .dlr = lane.d.lr,
                          .dtok = dtok,
                          .dln_w = dln_w,
                          .dln_b = dln_b,
                          .dstate_in = dstate_in.empty() ? unwanted : dstate_in,
                          .dstart = dstart});
  add_gradient(ctx, *weights_, token_idx_, gradients, [&](Tensor& d) {
    token_scale_backward(ctx, dtok, token_idx, d);
  });
  gradients.add(ln_w_, dln_w);
  gradients.add(ln_b_, dln_b);
  int64_t offset = 0;
  for (const int64_t index : start_) {
    const Tensor w = weight(index);
    gradients.add(index,
                  dstart.slice(offset, offset + w.numel()).reshape(w.shape()));
    offset += w.numel();
  }
}

void TttLayer::project_backward(Context& ctx, const ChunkView& view,
                                const Tensor& u, TttLane& lane,
                                const Tensor& halo_flat, Tensor& dhalo_flat,
                                Tensor& du, GradientSum& gradients) const {
  for (Tensor* dx : {&lane.d.xq, &lane.d.xk}) {
    rope(ctx, Rotation::kBackward, shape_.heads, shape_.mini_batch,
         config_.rope_theta, *dx);
  }
  linear_backward(ctx, lane.d.xv, u, *weights_, wv_, du, Write::kOverwrite,
                  gradients);
  if (config_.use_gate) {
    linear_backward(ctx, lane.d.g, u, *weights_, wg_, du, Write::kAdd,
                    gradients);
  }
  add_gradient(ctx, *weights_, rate_w_, gradients, [&](Tensor& dw) {
    add_gradient(ctx, *weights_, rate_b_, gradients, [&](Tensor& db) {
      inner_rate_backward(ctx, lane.d.lr, u, weight(rate_w_),
                          rows(lane.gate, view), rate_scale(), du, dw, db);
    });
  });
  if (!config_.share_qk) {
    linear_backward(ctx, lane.d.xq, u, *weights_, wq_, du, Write::kAdd,
                    gradients);
    linear_backward(ctx, lane.d.xk, u, *weights_, wk_, du, Write::kAdd,
                    gradients);
    return;
  }
  const Shape halo_shape{config_.conv_kernel - 1, config_.hidden_size};
  const Tensor halo =
      halo_flat.empty() ? halo_flat : halo_flat.reshape(halo_shape);
  Tensor dhalo = dhalo_flat.empty() ? ctx.allocate(halo_shape, u.dtype())
                                    : dhalo_flat.reshape(halo_shape);
  const Tensor p = rows(lane.p, view);
  const auto conv_backward = [&](const Tensor& dx, int64_t w, int64_t b,
                                 Write write) {
    add_gradient(ctx, *weights_, w, gradients, [&](Tensor& dw) {
      add_gradient(ctx, *weights_, b, gradients, [&](Tensor& db) {
        causal_conv_backward(ctx, dx, p, halo, weight(w), view.segments,
                             lane.d.p, dhalo, write, dw, db);
      });
    });
  };
  conv_backward(lane.d.xq, conv_q_w_, conv_q_b_, Write::kOverwrite);
  conv_backward(lane.d.xk, conv_k_w_, conv_k_b_, Write::kAdd);
}

}  // namespace timepipe
