// The inner loop: the scan of a chunk, and the tokens of one mini-batch as
// decoding reads them.

#include <memory>

#include "kernels/ttt_decode.h"
#include "launcher/bench/kernel_case.h"
#include "launcher/bench/ttt_call.h"

namespace timepipe {
namespace {

KernelCase scan_case(InnerModel inner, std::string name, TttCall::Pass pass) {
  const auto make = [=](Operands& o, const BenchSizes& s) {
    const auto call = std::make_shared<TttCall>(
        o, inner, s.heads, s.head_size(), s.mini_batch, s.tokens, pass);
    return KernelCall{[call] { call->run(); }, call->flops()};
  };
  return {std::move(name), /*in_bf16=*/true, /*same_types=*/false, make};
}

// What decoding works on, and where its gradients go.
struct Decoding {
  TttShape shape;
  Tensor xq, xk, xv, lr, tok, ln_w, ln_b, state, sum_in;
  Tensor y, sum_out, state_last;

  TttDecodeForward forward() {
    return {shape, xq,    xk,     xv, lr,      tok,       ln_w,
            ln_b,  state, sum_in, y,  sum_out, state_last};
  }
};

Decoding decoding(Operands& o, InnerModel inner, const BenchSizes& s,
                  int64_t rows) {
  const int64_t H = s.heads, D = s.head_size(), C = H * D;
  Decoding a;
  a.shape = {inner, H, D, s.mini_batch};
  const int64_t states = a.shape.state_size();
  a.xq = o.stored({rows, C});
  a.xk = o.stored({rows, C});
  a.xv = o.stored({rows, C});
  a.lr = inner_rates(o, inner, rows, H, D);
  a.tok = token_scales(o, s.mini_batch).slice(0, rows);
  a.ln_w = o.wide({H, D});
  a.ln_b = o.wide({H, D});
  a.state = o.wide({states}, 0.02);
  a.sum_in = o.wide({states}, 0.02);
  return a;
}

double decode_flops(const BenchSizes& s, const TttShape& shape, int64_t rows) {
  return static_cast<double>(s.heads) * ttt_flops(shape, rows);
}

// One token.
KernelCase decode_forward(InnerModel inner, std::string name) {
  const auto make = [=](Operands& o, const BenchSizes& s) {
    Decoding a = decoding(o, inner, s, /*rows=*/1);
    const int64_t states = a.shape.state_size();
    a.y = o.wide_result("y", a.xq.shape(), s.head_size());
    a.sum_out = o.wide_result("sum_out", {states}, s.head_size());
    a.state_last = o.wide_result("state_last", {states}, s.head_size());
    const double flops = decode_flops(s, a.shape, 1);
    return KernelCall{
        [=, &ctx = o.ctx()]() mutable { ttt_decode_forward(ctx, a.forward()); },
        flops};
  };
  return {std::move(name), /*in_bf16=*/true, /*same_types=*/false, make};
}

// A mini-batch, which is as much as there can be.
KernelCase decode_backward(InnerModel inner, std::string name) {
  const auto make = [=](Operands& o, const BenchSizes& s) {
    const Decoding a = decoding(o, inner, s, s.mini_batch);
    const Shape rows = a.xq.shape(), states = {a.shape.state_size()};
    const int64_t H = s.heads, D = s.head_size(), b = s.mini_batch;
    const Tensor dy = o.wide(rows), dsum_out = o.wide(states, 0.02);
    const Tensor dstate_last = o.wide(states, 0.02);
    Tensor dxq = o.stored_result("dxq", rows, D);
    Tensor dxk = o.stored_result("dxk", rows, D);
    Tensor dxv = o.stored_result("dxv", rows, D);
    Tensor dlr = o.wide_result("dlr", {b, H}, D * D);
    Tensor dtok = o.wide_result("dtok", {b}, H * D * D);
    Tensor dln_w = o.wide_result("dln_w", {H, D}, D);
    Tensor dln_b = o.wide_result("dln_b", {H, D}, D);
    Tensor dstate = o.wide_result("dstate", states, D);
    Tensor dsum_in = o.wide_result("dsum_in", states, D);
    const double flops = 2 * decode_flops(s, a.shape, b);
    return KernelCall{
        [=, &ctx = o.ctx()]() mutable {
          ttt_decode_backward(
              ctx, {a.shape,     a.xq,   a.xk,    a.xv,     a.lr, a.tok,
                    a.ln_w,      a.ln_b, a.state, a.sum_in, dy,   dsum_out,
                    dstate_last, dxq,    dxk,     dxv,      dlr,  dtok,
                    dln_w,       dln_b,  dstate,  dsum_in});
        },
        flops};
  };
  return {std::move(name), /*in_bf16=*/true, /*same_types=*/false, make};
}

}  // namespace

std::vector<KernelCase> ttt_cases() {
  using Pass = TttCall::Pass;
  std::vector<KernelCase> all;
  for (const InnerModel inner : {InnerModel::kLinear, InnerModel::kMlp}) {
    const std::string suffix =
        inner == InnerModel::kLinear ? " linear" : " mlp";
    all.push_back(
        scan_case(inner, "ttt_scan_forward" + suffix, Pass::kForward));
    all.push_back(
        scan_case(inner, "ttt_scan_backward" + suffix, Pass::kBackward));
    all.push_back(decode_forward(inner, "ttt_decode_forward" + suffix));
    all.push_back(decode_backward(inner, "ttt_decode_backward" + suffix));
  }
  return all;
}

}  // namespace timepipe
