#include "kernels/ttt_scan.h"
#include "tests/golden_check/golden.h"
#include "tests/golden_check/layer_inputs.h"

// The scan alone, cut into chunks that hand their state on, forward and
// backward.

namespace timepipe::golden {
namespace {

// One batch entry: tensors of the whole sequence, token-major.
struct Scan {
  TttShape shape;
  int64_t tokens;
  Tensor xq, xk, xv, lr, tok, ln_w, ln_b, start, dy, dstate_last;
  // Results.
  Tensor y, dxq, dxk, dxv, dlr;
  Values state_last, state_mid, dstate_init, dstate_mid, dtok, dln_w, dln_b;
};

// Runs all chunks forward, then backward; `mid`: tokens after which the state
// and its gradient are noted, if a chunk ends there.
void run(Context& ctx, Scan& scan, int64_t chunk, int64_t mid) {
  const DType dtype = scan.xq.dtype();
  const int64_t chunks = num_chunks(scan.tokens, chunk);
  const Shape state{scan.shape.state_size()};
  std::vector<Tensor> states{scan.start};
  std::vector<TttScan> cuts;
  std::vector<Segment> segments(chunks);
  const auto cut = [&](const Tensor& x, int64_t c) {
    return x.slice(c * chunk, std::min((c + 1) * chunk, scan.tokens));
  };
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t n = std::min(chunk, scan.tokens - c * chunk);
    segments[c] = {0, n, c * chunk + 1, false};
    cuts.push_back(
        {.shape = scan.shape,
         .rows = rows_of_one(n),
         .segments = {&segments[c], 1},
         .xq = cut(scan.xq, c),
         .xk = cut(scan.xk, c),
         .xv = cut(scan.xv, c),
         .lr = cut(scan.lr, c),
         .tok = scan.tok,
         .ln_w = scan.ln_w,
         .ln_b = scan.ln_b,
         .kept = ctx.allocate(
             {ttt_scan_kept_elements(scan.shape, rows_of_one(n))}, dtype),
         .y = cut(scan.y, c)});
    Tensor state_out = ctx.allocate(state, dtype);
    ttt_scan_prepare(ctx, cuts[c]);
    ttt_scan_forward(ctx, cuts[c], scan.start, states.back(), state_out);
    ttt_scan_read(ctx, cuts[c]);
    states.push_back(state_out);
    if (c * chunk + n == mid) scan.state_mid = to_values(ctx, state_out);
  }
  scan.state_last = to_values(ctx, states.back());
  Tensor dstate = scan.dstate_last;
  for (int64_t c = chunks - 1; c >= 0; --c) {
    if ((c + 1) * chunk == mid) scan.dstate_mid = to_values(ctx, dstate);
    const TttScanGradients d{.dy = cut(scan.dy, c),
                             .dxq = cut(scan.dxq, c),
                             .dxk = cut(scan.dxk, c),
                             .dxv = cut(scan.dxv, c),
                             .dlr = cut(scan.dlr, c),
                             .dtok = ctx.allocate(scan.tok.shape(), dtype),
                             .dln_w = ctx.allocate(scan.ln_w.shape(), dtype),
                             .dln_b = ctx.allocate(scan.ln_b.shape(), dtype)};
    Tensor dstate_in = ctx.allocate(state, dtype);
    Tensor dstart = ctx.allocate(state, dtype);
    ttt_scan_backward_read(ctx, cuts[c], d);
    ttt_scan_backward(ctx, cuts[c], d, scan.start, dstate, dstate_in, dstart);
    ttt_scan_backward_finish(ctx, cuts[c], d);
    accumulate(ctx, d.dtok, scan.dtok);
    accumulate(ctx, d.dln_w, scan.dln_w);
    accumulate(ctx, d.dln_b, scan.dln_b);
    dstate = dstate_in;
  }
  scan.dstate_init = to_values(ctx, dstate);
}

Scan make_scan(Context& ctx, DType dtype, const Case& golden, int64_t b) {
  const Shape s = golden.array("XQ").shape();  // [B,nh,n,K,f]
  const int64_t H = s[1], tokens = s[2] * s[3], D = s[4];
  Scan scan;
  scan.shape = {golden.has("W2_init") ? InnerModel::kMlp : InnerModel::kLinear,
                H, D, s[3]};
  scan.tokens = tokens;
  const auto load = [&](const char* name, int64_t width) {
    return token_major(ctx, dtype, golden, name, b, s[0], H, tokens, width);
  };
  scan.xq = load("XQ", D), scan.xk = load("XK", D), scan.xv = load("XV", D);
  scan.lr = load("ttt_lr_eta", 1);
  scan.tok =
      from_values(ctx, dtype, "token_idx", golden.values("token_idx"), {s[3]});
  scan.ln_w = from_values(ctx, dtype, "ttt_norm_weight",
                          golden.values("ttt_norm_weight"), {H, D});
  scan.ln_b = from_values(ctx, dtype, "ttt_norm_bias",
                          golden.values("ttt_norm_bias"), {H, D});
  scan.start = flat_state(ctx, dtype, golden, "", "_init", b, s[0]);
  const HostArray dy = golden.array("cot.out", {s[0], tokens, H * D});
  scan.dy = from_values(ctx, dtype, "cot.out", entry_of(to_values(dy), b, s[0]),
                        {tokens, H * D});
  scan.dstate_last = flat_state(ctx, dtype, golden, "cot.", "_last", b, s[0]);
  for (Tensor* t : {&scan.y, &scan.dxq, &scan.dxk, &scan.dxv}) {
    *t = ctx.allocate({tokens, H * D}, dtype);
  }
  scan.dlr = ctx.allocate({tokens, H}, dtype);
  return scan;
}

}  // namespace

void check_layer(const Options& options, const Case& golden, Report& report) {
  if (golden.has("W1_grad_init")) return check_primal(options, golden, report);
  const Shape s = golden.array("XQ").shape();
  require(s.size() == 5,
          "XQ: shape " + to_string(s) + ", expected 5 dimensions [B,nh,n,K,f]");
  const int64_t B = s[0], H = s[1], K = s[3], tokens = s[2] * s[3];
  const int64_t mid =
      golden.has("W1_mid")
          ? static_cast<int64_t>(golden.note({"mid_after_mini_batches"}, 0)) * K
          : 0;
  const int64_t chunk = chunk_length(options, K, tokens, 0);
  report.remark("chunk_tokens " + std::to_string(chunk));

  Context ctx;
  std::map<std::string, Values> got;
  TttShape shape{};
  for (int64_t b = 0; b < B; ++b) {
    Scan scan = make_scan(ctx, options.dtype, golden, b);
    shape = scan.shape;
    if (mid > 0) {  // once more, cut there
      Scan cut = make_scan(ctx, options.dtype, golden, b);
      run(ctx, cut, mid, mid);
      append(cut.state_mid, got["_mid"]);
      append(cut.dstate_mid, got["grad._mid"]);
    }
    run(ctx, scan, chunk, 0);
    append(to_values(ctx, scan.y), got["out"]);
    append(heads_first(to_values(ctx, scan.dxq), 1, tokens, H), got["grad.XQ"]);
    append(heads_first(to_values(ctx, scan.dxk), 1, tokens, H), got["grad.XK"]);
    append(heads_first(to_values(ctx, scan.dxv), 1, tokens, H), got["grad.XV"]);
    append(heads_first(to_values(ctx, scan.dlr), 1, tokens, H),
           got["grad.ttt_lr_eta"]);
    append(scan.state_last, got["_last"]);
    append(scan.dstate_init, got["grad._init"]);
    accumulate(scan.dtok, got["grad.token_idx"]);
    accumulate(scan.dln_w, got["grad.ttt_norm_weight"]);
    accumulate(scan.dln_b, got["grad.ttt_norm_bias"]);
  }

  compare_layer(options, golden, name_states(shape, std::move(got), B), report);
}

}  // namespace timepipe::golden
