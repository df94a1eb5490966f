#include <algorithm>

#include "kernels/ttt_decode.h"
#include "tests/golden_check/golden.h"
#include "tests/golden_check/layer_inputs.h"

// Some tokens of one mini-batch in the decoding form: in one call, or, if
// chunks are asked for, token by token.

namespace timepipe::golden {
namespace {

// One batch entry, inputs token-major.
struct Decode {
  TttShape shape;
  int64_t tokens;
  Tensor xq, xk, xv, lr, tok, ln_w, ln_b, state, sum_init;
  Tensor dy, dsum_last, dstate_last;
  // Results.
  Tensor y, state_last, sum_last, dxq, dxk, dxv, dlr, dtok;
  Tensor dsum;  // that of the sum before the rows at hand
  Values dstate, dln_w, dln_b;
};

Decode make_decode(Context& ctx, DType dtype, const Case& golden, int64_t b) {
  const Shape s = golden.array("XQ").shape();  // [B,nh,1,K,f]
  require(s.size() == 5 && s[2] == 1,
          "XQ: shape " + to_string(s) + ", expected [B,nh,1,K,f]");
  const int64_t H = s[1], K = s[3], D = s[4];
  const auto load = [&](const char* name, int64_t width) {
    return token_major(ctx, dtype, golden, name, b, s[0], H, K, width);
  };
  const auto whole = [&](const char* name, Shape shape) {
    return from_values(ctx, dtype, name, golden.values(name), std::move(shape));
  };
  const auto state = [&](const char* prefix, const char* suffix) {
    return flat_state(ctx, dtype, golden, prefix, suffix, b, s[0]);
  };
  Decode d;
  d.shape = {golden.has("W2_init") ? InnerModel::kMlp : InnerModel::kLinear, H,
             D, K};
  d.tokens = K;
  d.xq = load("XQ", D), d.xk = load("XK", D), d.xv = load("XV", D);
  d.lr = load("ttt_lr_eta", 1);
  d.tok = whole("token_idx", {K});
  d.ln_w = whole("ttt_norm_weight", {H, D});
  d.ln_b = whole("ttt_norm_bias", {H, D});
  d.state = state("", "_init"), d.sum_init = state("", "_grad_init");
  d.dstate_last = state("cot.", "_last");
  d.dsum_last = state("cot.", "_grad_last");
  const HostArray dy = golden.array("cot.out", {s[0], K, H * D});
  d.dy = from_values(ctx, dtype, "cot.out", entry_of(to_values(dy), b, s[0]),
                     {K, H * D});
  for (Tensor* t : {&d.y, &d.dxq, &d.dxk, &d.dxv}) {
    *t = ctx.allocate({K, H * D}, dtype);
  }
  d.dlr = ctx.allocate({K, H}, dtype);
  d.dtok = ctx.allocate({K}, dtype);
  return d;
}

// Rows [begin, end) of one call, whose sum before them is `sum`.
Tensor forward(Context& ctx, Decode& d, int64_t begin, int64_t end,
               const Tensor& sum) {
  const auto cut = [&](const Tensor& x) { return x.slice(begin, end); };
  Tensor y = cut(d.y), sum_out = ctx.allocate(sum.shape(), sum.dtype());
  d.state_last = ctx.allocate(sum.shape(), sum.dtype());
  ttt_decode_forward(
      ctx, {d.shape, cut(d.xq), cut(d.xk), cut(d.xv), cut(d.lr), cut(d.tok),
            d.ln_w, d.ln_b, d.state, sum, y, sum_out, d.state_last});
  return sum_out;
}

void backward(Context& ctx, Decode& d, int64_t begin, int64_t end,
              const Tensor& sum) {
  const auto cut = [&](const Tensor& x) { return x.slice(begin, end); };
  const auto like = [&](const Tensor& x) {
    return ctx.allocate(x.shape(), x.dtype());
  };
  Tensor dxq = cut(d.dxq), dxk = cut(d.dxk), dxv = cut(d.dxv), dlr = cut(d.dlr);
  Tensor dtok = cut(d.dtok), dln_w = like(d.ln_w), dln_b = like(d.ln_b);
  Tensor dstate = like(d.state), dsum = like(d.state);
  const Tensor dlast = end == d.tokens ? d.dstate_last : Tensor();
  ttt_decode_backward(
      ctx, {d.shape, cut(d.xq), cut(d.xk), cut(d.xv), cut(d.lr), cut(d.tok),
            d.ln_w,  d.ln_b,    d.state,   sum,       cut(d.dy), d.dsum,
            dlast,   dxq,       dxk,       dxv,       dlr,       dtok,
            dln_w,   dln_b,     dstate,    dsum});
  accumulate(ctx, dstate, d.dstate);
  accumulate(ctx, dln_w, d.dln_w);
  accumulate(ctx, dln_b, d.dln_b);
  d.dsum = dsum;
}

void run(Context& ctx, Decode& d, int64_t step) {
  std::vector<Tensor> sums{d.sum_init};
  for (int64_t t = 0; t < d.tokens; t += step) {
    sums.push_back(
        forward(ctx, d, t, std::min(t + step, d.tokens), sums.back()));
  }
  d.sum_last = sums.back();
  d.dsum = d.dsum_last;
  for (int64_t i = std::ssize(sums) - 2; i >= 0; --i) {
    backward(ctx, d, i * step, std::min((i + 1) * step, d.tokens), sums[i]);
  }
}

}  // namespace

void check_primal(const Options& options, const Case& golden, Report& report) {
  const Shape s = golden.array("XQ").shape();
  const int64_t B = s[0], H = s[1];
  if (options.micro_batch > 1) {
    report.remark("decoding form: one sequence at a time, not --micro-batch");
  }
  Context ctx(options.device);
  std::map<std::string, Values> got;
  TttShape shape{};
  for (int64_t b = 0; b < B; ++b) {
    Decode d = make_decode(ctx, options.dtype, golden, b);
    shape = d.shape;
    run(ctx, d, options.chunk == 0 ? d.tokens : 1);
    const auto rows = [&](const Tensor& x) {
      return heads_first(to_values(ctx, x), 1, d.tokens, H);
    };
    append(to_values(ctx, d.y), got["out"]);
    append(rows(d.dxq), got["grad.XQ"]);
    append(rows(d.dxk), got["grad.XK"]);
    append(rows(d.dxv), got["grad.XV"]);
    append(rows(d.dlr), got["grad.ttt_lr_eta"]);
    accumulate(ctx, d.dtok, got["grad.token_idx"]);
    accumulate(d.dln_w, got["grad.ttt_norm_weight"]);
    accumulate(d.dln_b, got["grad.ttt_norm_bias"]);
    append(to_values(ctx, d.state_last), got["_last"]);
    append(to_values(ctx, d.sum_last), got["_grad_last"]);
    append(d.dstate, got["grad._init"]);
    append(to_values(ctx, d.dsum), got["grad._grad_init"]);
  }
  compare_layer(options, golden, name_states(shape, std::move(got), B), 1,
                report);
}

}  // namespace timepipe::golden
