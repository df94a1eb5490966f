// The TTT layer's parameters and forward pass; the backward is in
// ttt_backward.cc.

#include "models/layers/ttt.h"

#include <vector>

#include "kernels/causal_conv.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/pointwise.h"
#include "kernels/rope.h"
#include "kernels/ttt_decode.h"
#include "runtime/transfer.h"

namespace timepipe {

TttLayer::TttLayer(const ModelConfig& config, const std::string& prefix,
                   ParameterLayout& layout)
    : config_(config), shape_(config.ttt_shape()) {
  const int64_t C = config.hidden_size, H = config.num_heads;
  const int64_t D = config.head_size(), k = config.conv_kernel;
  const auto add = [&](const char* name, Shape shape) {
    return layout.add(prefix + name, std::move(shape));
  };
  token_idx_ = add("learnable_token_idx", {config.mini_batch_size});
  rate_w_ = add("learnable_ttt_lr_weight", {H, 1, C});
  rate_b_ = add("learnable_ttt_lr_bias", {H, 1});
  ln_w_ = add("ttt_norm_weight", {H, D});
  ln_b_ = add("ttt_norm_bias", {H, D});
  if (shape_.inner == InnerModel::kLinear) {
    start_ = {add("W1", {H, D, D}), add("b1", {H, 1, D})};
  } else {
    start_ = {add("W1", {H, D, 4 * D}), add("b1", {H, 1, 4 * D}),
              add("W2", {H, 4 * D, D}), add("b2", {H, 1, D})};
  }
  wq_ = add("q_proj.weight", {C, C});
  if (!config.share_qk) wk_ = add("k_proj.weight", {C, C});
  wv_ = add("v_proj.weight", {C, C});
  wo_ = add("o_proj.weight", {C, C});
  if (config.share_qk) {
    conv_q_w_ = add("conv_q.weight", {C, 1, k});
    conv_q_b_ = add("conv_q.bias", {C});
    conv_k_w_ = add("conv_k.weight", {C, 1, k});
    conv_k_b_ = add("conv_k.bias", {C});
  }
  if (config.use_gate) wg_ = add("g_proj.weight", {C, C});
  post_w_ = add("post_norm.weight", {C});
  post_b_ = add("post_norm.bias", {C});
}

std::unique_ptr<SequenceLayer::Slab> TttLayer::make_slab(
    Context& ctx, const ChunkRows& chunk) const {
  auto slab = std::make_unique<TttSlab>();
  const auto [compute, state, master] = weights_->precision();
  const auto take = [&](Shape shape, DType dtype) {
    return ctx.allocate(std::move(shape), dtype, MemoryUse::kActivations);
  };
  const int64_t T = chunk.count();
  const Shape rows{T, config_.hidden_size};
  const Shape heads{T, config_.num_heads};
  for (Tensor* t : {&slab->xq, &slab->xk, &slab->xv}) *t = take(rows, compute);
  if (config_.share_qk) slab->p = take(rows, compute);
  if (config_.use_gate) slab->g = take(rows, compute);
  for (Tensor* t : {&slab->gate, &slab->lr}) *t = take(heads, state);
  slab->tok = take({shape_.mini_batch}, state);
  slab->kept =
      take({ttt_scan_kept_elements(ctx.device(), shape_, chunk)}, state);
  slab->o = take(rows, state);
  for (Tensor* t : {&slab->o_mean, &slab->o_rstd}) *t = take({T}, state);
  return slab;
}

Shape TttLayer::border_shape(Border border, int64_t members) const {
  if (border == Border::kState) return {members * shape_.state_size()};
  return config_.share_qk ? config_.halo_shape(members) : Shape{0};
}

// p = Wq u.
void TttLayer::project_qk(Context& ctx, const ChunkView& view, const Tensor& u,
                          Slab& base, Tensor& halo_qk_out) const {
  if (!config_.share_qk) return;
  Tensor p = rows(static_cast<TttSlab&>(base).p, view);
  linear_forward(ctx, u, operand(wq_), p);
  if (!halo_qk_out.empty()) push_rows(ctx, p, view.rows, halo_qk_out);
}

void TttLayer::project(Context& ctx, const ChunkView& view, const Tensor& u,
                       Slab& base, const Tensor& halo_qk_in) const {
  auto& slab = static_cast<TttSlab&>(base);
  Tensor xq = rows(slab.xq, view), xk = rows(slab.xk, view);
  Tensor xv = rows(slab.xv, view);
  if (config_.share_qk) {
    const Tensor p = rows(slab.p, view);
    causal_conv_forward(ctx, p, halo_qk_in, weight(conv_q_w_),
                        weight(conv_q_b_), view.segments, xq);
    causal_conv_forward(ctx, p, halo_qk_in, weight(conv_k_w_),
                        weight(conv_k_b_), view.segments, xk);
  } else {
    linear_forward(ctx, u, operand(wq_), xq);
    linear_forward(ctx, u, operand(wk_), xk);
  }
  linear_forward(ctx, u, operand(wv_), xv);
  for (Tensor* x : {&xq, &xk}) {
    rope(ctx, Rotation::kForward, shape_.heads, shape_.mini_batch,
         config_.rope_theta, *x, view.place.value_or(0));
  }
  if (config_.use_gate) {
    Tensor g = rows(slab.g, view);
    linear_forward(ctx, u, operand(wg_), g);
  }
  Tensor gate = rows(slab.gate, view), lr = rows(slab.lr, view);
  inner_rate_forward(ctx, u, weight(rate_w_), weight(rate_b_), rate_scale(),
                     gate, lr);
  token_scale_forward(ctx, weight(token_idx_), slab.tok);
  if (!view.place) ttt_scan_prepare(ctx, scan_of(slab, view));
}

void TttLayer::scan(Context& ctx, const ChunkView& view, Slab& base,
                    const Tensor& state_in, Tensor& state_out) const {
  auto& slab = static_cast<TttSlab&>(base);
  if (state_out.empty()) {
    state_out = ctx.allocate(border_shape(Border::kState, view.rows.members),
                             weights_->precision().state);
  }
  ttt_scan_forward(ctx, scan_of(slab, view), learned_start(ctx), state_in,
                   state_out);
}

void TttLayer::scan_part(Context& ctx, const ChunkView& view, Slab& base,
                         Tensor& state, Tensor& gradient_sum) const {
  auto& slab = static_cast<TttSlab&>(base);
  const int64_t place = view.place.value(), end = place + view.rows.tokens;
  const bool completes = end == shape_.mini_batch;
  Tensor o = rows(slab.o, view), unwanted;
  ttt_decode_forward(ctx, {.shape = shape_,
                           .xq = rows(slab.xq, view),
                           .xk = rows(slab.xk, view),
                           .xv = rows(slab.xv, view),
                           .lr = rows(slab.lr, view),
                           .tok = slab.tok.slice(place, end),
                           .ln_w = weight(ln_w_),
                           .ln_b = weight(ln_b_),
                           .state = state,
                           .sum_in = gradient_sum,
                           .y = o,
                           .sum_out = gradient_sum,
                           .state_last = completes ? state : unwanted});
  if (completes) clear(ctx, gradient_sum);
}

// y += Wo (LN(o) [* gelu(g)]).
void TttLayer::output(Context& ctx, const ChunkView& view, Slab& base,
                      Tensor& y) const {
  auto& slab = static_cast<TttSlab&>(base);
  if (!view.place) ttt_scan_read(ctx, scan_of(slab, view));
  const Tensor o = rows(slab.o, view);
  Tensor n = take_norm(ctx, o);
  Tensor mean = rows(slab.o_mean, view), rstd = rows(slab.o_rstd, view);
  layernorm_forward(ctx, o, weight(post_w_), weight(post_b_), kPostNormEps, n,
                    mean, rstd);
  if (config_.use_gate) {
    const Tensor g = rows(slab.g, view);
    Tensor z = ctx.allocate(g.shape(), g.dtype());
    gelu_gate_forward(ctx, n, g, z);
    n = z;
  }
  linear_forward(ctx, n, operand(wo_), y, Write::kAdd);
}

Tensor TttLayer::take_norm(Context& ctx, const Tensor& o) const {
  return ctx.allocate(
      o.shape(), config_.use_gate ? o.dtype() : weights_->precision().compute);
}

void TttLayer::inspect(
    const Slab& base, const ChunkView& view,
    const std::function<void(const char*, const Tensor&)>& see) const {
  const auto& slab = static_cast<const TttSlab&>(base);
  see("XQ", rows(slab.xq, view));
  see("XK", rows(slab.xk, view));
  see("XV", rows(slab.xv, view));
  see("ttt_lr_eta", rows(slab.lr, view));
  see("ttt_out", rows(slab.o, view));
}

TttScan TttLayer::scan_of(const TttSlab& slab, const ChunkView& view) const {
  const int64_t kept =
      ttt_scan_kept_elements(slab.kept.device(), shape_, view.rows);
  return {.shape = shape_,
          .rows = view.rows,
          .segments = view.segments,
          .xq = rows(slab.xq, view),
          .xk = rows(slab.xk, view),
          .xv = rows(slab.xv, view),
          .lr = rows(slab.lr, view),
          .tok = slab.tok,
          .ln_w = weight(ln_w_),
          .ln_b = weight(ln_b_),
          .kept = slab.kept.slice(0, kept),
          .y = rows(slab.o, view)};
}

Tensor TttLayer::learned_start(Context& ctx) const {
  Tensor start =
      ctx.allocate({shape_.state_size()}, weights_->precision().state);
  int64_t begin = 0;
  for (const int64_t index : start_) {
    const Tensor w = weight(index);
    copy(ctx, w, start.slice(begin, begin + w.numel()));
    begin += w.numel();
  }
  return start;
}

double TttLayer::rate_scale() const {
  return config_.ttt_base_lr * multiplier_ /
         static_cast<double>(config_.head_size());
}

}  // namespace timepipe
