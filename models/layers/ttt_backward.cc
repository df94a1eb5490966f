// The backward pass of the TTT layer.

#include <utility>

#include "kernels/causal_conv.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/pointwise.h"
#include "kernels/rope.h"
#include "models/layers/ttt.h"

namespace timepipe {

void TttLayer::take_gradients(Context& ctx, const ChunkRows& chunk,
                              Slab& base) const {
  auto& d = static_cast<TttSlab&>(base).d;
  const auto [compute, state, master] = weights_->precision();
  const auto take = [&](Shape shape, DType dtype) {
    return ctx.allocate(std::move(shape), dtype, MemoryUse::kActivations);
  };
  const int64_t T = chunk.count();
  const Shape rows{T, config_.hidden_size};
  for (Tensor* t : {&d.xq, &d.xk, &d.xv}) *t = take(rows, compute);
  if (config_.use_gate) d.g = take(rows, compute);
  d.o = take(rows, state);
  if (config_.share_qk) d.p = take(rows, state);
  d.lr = take({T, config_.num_heads}, state);
  d.tok = take({shape_.mini_batch}, state);
  for (Tensor* t : {&d.ln_w, &d.ln_b}) *t = take(weight(ln_w_).shape(), master);
  d.passed =
      take({ttt_scan_passed_elements(ctx.device(), shape_, chunk)}, state);
}

TttScanGradients TttLayer::scan_gradients_of(const TttSlab& slab) {
  const TttSlab::Gradients& d = slab.d;
  return {.dy = d.o,
          .dxq = d.xq,
          .dxk = d.xk,
          .dxv = d.xv,
          .dlr = d.lr,
          .dtok = d.tok,
          .dln_w = d.ln_w,
          .dln_b = d.ln_b,
          .passed = d.passed};
}

void TttLayer::output_backward(Context& ctx, const ChunkView& view, Slab& base,
                               const Tensor& dy, GradientSum& gradients) const {
  auto& slab = static_cast<TttSlab&>(base);
  const Tensor o = rows(slab.o, view);
  Tensor mean = rows(slab.o_mean, view), rstd = rows(slab.o_rstd, view);
  Tensor n = take_norm(ctx, o);
  layernorm_forward(ctx, o, weight(post_w_), weight(post_b_), kPostNormEps, n,
                    mean, rstd);
  Tensor dn = ctx.allocate(o.shape(), o.dtype());
  const Tensor dy_read = operand_of(ctx, dy, weights_->precision());
  if (config_.use_gate) {
    const Tensor g = rows(slab.g, view);
    Tensor z = ctx.allocate(g.shape(), g.dtype());
    Tensor dz = ctx.allocate(g.shape(), g.dtype());
    gelu_gate_forward(ctx, n, g, z);
    linear_backward(ctx, dy_read, z, *weights_, wo_, dz, Write::kOverwrite,
                    gradients);
    gelu_gate_backward(ctx, dz, n, g, dn, slab.d.g);
  } else {
    linear_backward(ctx, dy_read, n, *weights_, wo_, dn, Write::kOverwrite,
                    gradients);
  }
  add_gradient(ctx, *weights_, post_w_, gradients, [&](Tensor& dw) {
    add_gradient(ctx, *weights_, post_b_, gradients, [&](Tensor& db) {
      layernorm_backward(ctx, dn, o, weight(post_w_), mean, rstd, slab.d.o, dw,
                         db);
    });
  });
  ttt_scan_backward_read(ctx, scan_of(slab, view), scan_gradients_of(slab));
}

void TttLayer::scan_backward(Context& ctx, const ChunkView& view, Slab& base,
                             const Tensor& dstate_out, Tensor& dstate_in,
                             GradientSum& gradients) const {
  auto& slab = static_cast<TttSlab&>(base);
  Tensor dstart =
      ctx.allocate({shape_.state_size()}, weights_->precision().state);
  Tensor unwanted;  // of a state that no chunk takes the gradient of
  if (dstate_in.empty()) {
    unwanted = ctx.allocate(border_shape(Border::kState, view.rows.members),
                            dstart.dtype());
  }
  ttt_scan_backward(ctx, scan_of(slab, view), scan_gradients_of(slab),
                    learned_start(ctx), dstate_out,
                    dstate_in.empty() ? unwanted : dstate_in, dstart);
  int64_t offset = 0;
  for (const int64_t index : start_) {
    const Tensor w = weight(index);
    gradients.add(ctx, index,
                  dstart.slice(offset, offset + w.numel()).reshape(w.shape()));
    offset += w.numel();
  }
}

void TttLayer::project_backward(Context& ctx, const ChunkView& view,
                                const Tensor& u, Slab& base,
                                const Tensor& halo_qk_in, Tensor& dhalo_qk_in,
                                Tensor& du, GradientSum& gradients) const {
  auto& slab = static_cast<TttSlab&>(base);
  ttt_scan_backward_finish(ctx, scan_of(slab, view), scan_gradients_of(slab));
  add_gradient(ctx, *weights_, token_idx_, gradients, [&](Tensor& d) {
    token_scale_backward(ctx, slab.d.tok, weight(token_idx_), d);
  });
  gradients.add(ctx, ln_w_, slab.d.ln_w);
  gradients.add(ctx, ln_b_, slab.d.ln_b);
  for (Tensor* dx : {&slab.d.xq, &slab.d.xk}) {
    rope(ctx, Rotation::kBackward, shape_.heads, shape_.mini_batch,
         config_.rope_theta, *dx);
  }
  linear_backward(ctx, slab.d.xv, u, *weights_, wv_, du, Write::kOverwrite,
                  gradients);
  if (config_.use_gate) {
    linear_backward(ctx, slab.d.g, u, *weights_, wg_, du, Write::kAdd,
                    gradients);
  }
  add_gradient(ctx, *weights_, rate_w_, gradients, [&](Tensor& dw) {
    add_gradient(ctx, *weights_, rate_b_, gradients, [&](Tensor& db) {
      inner_rate_backward(ctx, slab.d.lr, u, weight(rate_w_),
                          rows(slab.gate, view), rate_scale(), du, dw, db);
    });
  });
  if (!config_.share_qk) {
    linear_backward(ctx, slab.d.xq, u, *weights_, wq_, du, Write::kAdd,
                    gradients);
    linear_backward(ctx, slab.d.xk, u, *weights_, wk_, du, Write::kAdd,
                    gradients);
    return;
  }
  Tensor dhalo =
      dhalo_qk_in.empty()
          ? ctx.allocate(config_.halo_shape(view.rows.members), du.dtype())
          : dhalo_qk_in;
  const Tensor p = rows(slab.p, view);
  const auto conv_backward = [&](const Tensor& dx, int64_t w, int64_t b,
                                 Write write) {
    add_gradient(ctx, *weights_, w, gradients, [&](Tensor& dw) {
      add_gradient(ctx, *weights_, b, gradients, [&](Tensor& db) {
        causal_conv_backward(ctx, dx, p, halo_qk_in, weight(w), view.segments,
                             slab.d.p, dhalo, write, dw, db);
      });
    });
  };
  conv_backward(slab.d.xq, conv_q_w_, conv_q_b_, Write::kOverwrite);
  conv_backward(slab.d.xk, conv_k_w_, conv_k_b_, Write::kAdd);
}

void TttLayer::project_qk_backward(Context& ctx, const ChunkView& view,
                                   const Tensor& u, Slab& base,
                                   const Tensor& dhalo_qk_out, Tensor& du,
                                   GradientSum& gradients) const {
  auto& d = static_cast<TttSlab&>(base).d;
  if (config_.share_qk) {
    if (!dhalo_qk_out.empty())
      push_rows_backward(ctx, dhalo_qk_out, view.rows, d.p);
    linear_backward(ctx, operand_of(ctx, d.p, weights_->precision()), u,
                    *weights_, wq_, du, Write::kAdd, gradients);
  }
  d = {};
}

}  // namespace timepipe
