#include "launcher/bench/ttt_call.h"

#include "kernels/inner_rate.h"

namespace timepipe {

Tensor inner_rates(Operands& operands, InnerModel inner, int64_t tokens,
                   int64_t heads, int64_t head_size) {
  const double base_lr = inner == InnerModel::kLinear ? 1 : 0.1;
  return operands.positive({tokens, heads},
                           base_lr / static_cast<double>(head_size));
}

Tensor token_scales(Operands& operands, int64_t mini_batch) {
  const Tensor learnable = operands.wide({mini_batch}, 0.01);
  Tensor tok = operands.scratch({mini_batch}, operands.wide_type());
  token_scale_forward(operands.ctx(), learnable, tok);
  return tok;
}

double ttt_flops(const TttShape& shape, int64_t rows) {
  const auto b = static_cast<double>(rows);
  const auto D = static_cast<double>(shape.head_size);
  // Of a layer D -> F: K W, Q W and K^T H; Q K^T and T H.
  const auto layer = [&](double F) {
    return 6 * b * D * F + 2 * b * b * (D + F);
  };
  if (shape.inner == InnerModel::kLinear) return layer(D);
  return 2 * layer(4 * D) + 8 * b * D * D;  // and H W2^T
}

TttCall::TttCall(Operands& operands, InnerModel inner, int64_t heads,
                 int64_t head_size, int64_t mini_batch, int64_t tokens,
                 Pass pass)
    : ctx_(operands.ctx()),
      pass_(pass),
      all_{.row = 0, .rows = tokens, .context = tokens, .resets = false} {
  Operands& o = operands;
  const int64_t T = tokens, H = heads, D = head_size, C = H * D;
  scan_.shape = {inner, H, D, mini_batch};
  scan_.rows = rows_of_one(T);
  const int64_t states = scan_.shape.state_size();
  const Device device = ctx_.device();
  scan_.xq = o.stored({T, C});
  scan_.xk = o.stored({T, C});
  scan_.xv = o.stored({T, C});
  scan_.lr = inner_rates(o, inner, T, H, D);
  scan_.tok = token_scales(o, mini_batch);
  scan_.ln_w = o.wide({H, D});
  scan_.ln_b = o.wide({H, D});
  scan_.kept = o.scratch(
      {ttt_scan_kept_elements(device, scan_.shape, scan_.rows)}, o.wide_type());
  start_ = o.wide({states}, 0.02);
  state_in_ = o.wide({states}, 0.02);
  const bool forward = pass == Pass::kForward;
  const auto result = [&](const char* name, Shape shape) {
    return forward ? o.wide_result(name, std::move(shape), T)
                   : o.scratch(std::move(shape), o.wide_type());
  };
  scan_.y = result("y", {T, C});
  state_out_ = result("state_out", {states});
  scan_.segments = {&all_, 1};
  if (forward) return;

  ttt_scan_prepare(ctx_, scan_);
  ttt_scan_forward(ctx_, scan_, start_, state_in_, state_out_);
  ttt_scan_read(ctx_, scan_);
  d_.dy = o.wide({T, C});
  d_.dxq = o.stored_result("dxq", {T, C}, T * D);
  d_.dxk = o.stored_result("dxk", {T, C}, T * D);
  d_.dxv = o.stored_result("dxv", {T, C}, T * D);
  d_.dlr = o.wide_result("dlr", {T, H}, T * D);
  d_.dtok = o.wide_result("dtok", {mini_batch}, T * C);
  d_.dln_w = o.wide_result("dln_w", {H, D}, T * D);
  d_.dln_b = o.wide_result("dln_b", {H, D}, T * D);
  d_.passed =
      o.scratch({ttt_scan_passed_elements(device, scan_.shape, scan_.rows)},
                o.wide_type());
  dstate_out_ = o.wide({states}, 0.02);
  dstate_in_ = o.wide_result("dstate_in", {states}, T * D);
  dstart_ = o.wide_result("dstart", {states}, T * D);
}

void TttCall::before() {
  if (pass_ == Pass::kForward) return ttt_scan_prepare(ctx_, scan_);
  ttt_scan_backward_read(ctx_, scan_, d_);
}

void TttCall::chain() {
  if (pass_ == Pass::kForward) {
    return ttt_scan_forward(ctx_, scan_, start_, state_in_, state_out_);
  }
  ttt_scan_backward(ctx_, scan_, d_, start_, dstate_out_, dstate_in_, dstart_);
}

void TttCall::after() {
  if (pass_ == Pass::kForward) return ttt_scan_read(ctx_, scan_);
  ttt_scan_backward_finish(ctx_, scan_, d_);
}

double TttCall::flops() const {
  const TttShape& shape = scan_.shape;
  const double forward = static_cast<double>(shape.heads) *
                         static_cast<double>(scan_.rows.tokens) /
                         static_cast<double>(shape.mini_batch) *
                         ttt_flops(shape, shape.mini_batch);
  return pass_ == Pass::kForward ? forward : 2 * forward;
}

}  // namespace timepipe
