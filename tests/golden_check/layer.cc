#include "kernels/ttt_scan.h"
#include "tests/golden_check/golden.h"
#include "tests/golden_check/layer_inputs.h"

// The scan alone, cut into chunks that hand their state on, forward and
// backward.

namespace timepipe::golden {
namespace {

// Tensors of all sequences, token-major, one sequence after the other.
struct Scan {
  TttShape shape;
  int64_t tokens;
  Tensor xq, xk, xv, lr, tok, ln_w, ln_b, states, dy, dstates_last;
};

struct Results {
  Pieces pieces;  // by sequence
  Values dtok = {}, dln_w = {}, dln_b = {};
};

// Runs all chunks of a micro-batch forward, then backward; `mid`: tokens after
// which the states and their gradients are noted, if a chunk ends there.
void run(Context& ctx, const Scan& scan, const ChunkedBatch& batch,
         int64_t micro_batch, int64_t mid, Results& results) {
  const DType dtype = scan.xq.dtype();
  const int64_t chunks = std::ssize(batch.shapes().at(micro_batch));
  const int64_t first = batch.first_sequence(micro_batch);
  const int64_t members = batch.members(micro_batch);
  const int64_t state_size = scan.shape.state_size();
  const auto states_of = [&](const Tensor& all) {
    return all.slice(first * state_size, (first + members) * state_size);
  };
  const Tensor start = scan.states.slice(0, state_size);  // nothing resets
  const auto like = [&](const Tensor& x) {
    return ctx.allocate(x.shape(), dtype);
  };
  const auto note_states = [&](const std::string& name, const Tensor& states) {
    results.pieces.put_states(name, first, members, download(ctx, states));
  };
  std::vector<Tensor> states{states_of(scan.states)};
  std::vector<TttScan> cuts;
  for (int64_t c = 0; c < chunks; ++c) {
    const ChunkView view = batch.view(micro_batch, c);
    const auto cut = [&](const Tensor& x) {
      return rows_of_chunk(ctx, x, scan.tokens, first, view);
    };
    const Tensor xq = cut(scan.xq);
    cuts.push_back(
        {.shape = scan.shape,
         .rows = view.rows,
         .segments = view.segments,
         .xq = xq,
         .xk = cut(scan.xk),
         .xv = cut(scan.xv),
         .lr = cut(scan.lr),
         .tok = scan.tok,
         .ln_w = scan.ln_w,
         .ln_b = scan.ln_b,
         .kept = ctx.allocate(
             {ttt_scan_kept_elements(ctx.device(), scan.shape, view.rows)},
             dtype),
         .y = like(xq)});
    Tensor states_out = like(states.back());
    ttt_scan_prepare(ctx, cuts[c]);
    ttt_scan_forward(ctx, cuts[c], start, states.back(), states_out);
    ttt_scan_read(ctx, cuts[c]);
    states.push_back(states_out);
    results.pieces.put_rows("out", first, view, 0, download(ctx, cuts[c].y));
    if (view.first + view.rows.tokens == mid) note_states("_mid", states_out);
  }
  note_states("_last", states.back());
  Tensor dstates = states_of(scan.dstates_last);
  for (int64_t c = chunks - 1; c >= 0; --c) {
    const ChunkView view = batch.view(micro_batch, c);
    if (view.first + view.rows.tokens == mid) note_states("grad._mid", dstates);
    const TttScanGradients d{
        .dy = rows_of_chunk(ctx, scan.dy, scan.tokens, first, view),
        .dxq = like(cuts[c].xq),
        .dxk = like(cuts[c].xk),
        .dxv = like(cuts[c].xv),
        .dlr = like(cuts[c].lr),
        .dtok = like(scan.tok),
        .dln_w = like(scan.ln_w),
        .dln_b = like(scan.ln_b),
        .passed = ctx.allocate(
            {ttt_scan_passed_elements(ctx.device(), scan.shape, view.rows)},
            dtype)};
    Tensor dstates_in = like(dstates), dstart = like(start);
    ttt_scan_backward_read(ctx, cuts[c], d);
    ttt_scan_backward(ctx, cuts[c], d, start, dstates, dstates_in, dstart);
    ttt_scan_backward_finish(ctx, cuts[c], d);
    const auto note = [&](const char* name, const Tensor& x) {
      results.pieces.put_rows(name, first, view, 0, download(ctx, x));
    };
    note("grad.XQ", d.dxq), note("grad.XK", d.dxk), note("grad.XV", d.dxv);
    note("grad.ttt_lr_eta", d.dlr);
    accumulate(ctx, d.dtok, results.dtok);
    accumulate(ctx, d.dln_w, results.dln_w);
    accumulate(ctx, d.dln_b, results.dln_b);
    dstates = dstates_in;
  }
  note_states("grad._init", dstates);
}

// Copies of the batch.
Scan make_scan(Context& ctx, DType dtype, const Case& golden, int64_t copies) {
  const Shape s = golden.array("XQ").shape();  // [B,nh,n,K,f]
  const int64_t B = s[0], H = s[1], K = s[3], tokens = s[2] * K, D = s[4];
  Scan scan;
  scan.shape = {golden.has("W2_init") ? InnerModel::kMlp : InnerModel::kLinear,
                H, D, K};
  scan.tokens = tokens;
  const auto whole = [&](const char* name, Shape shape) {
    return from_values(ctx, dtype, name, golden.values(name), std::move(shape));
  };
  const auto rows = [&](const char* name, const Values& batch, int64_t width) {
    return from_values(ctx, dtype, name, repeated(batch, copies),
                       {copies * B * tokens, width});
  };
  const auto load = [&](const char* name, int64_t width) {
    Values batch;
    for (int64_t b = 0; b < B; ++b) {
      append(to_values(ctx, token_major(ctx, dtype, golden, name, b, B, H,
                                        tokens, width)),
             batch);
    }
    return rows(name, batch, H * width);
  };
  const auto states = [&](const char* prefix, const char* suffix) {
    Values batch;
    for (int64_t b = 0; b < B; ++b) {
      append(
          to_values(ctx, flat_state(ctx, dtype, golden, prefix, suffix, b, B)),
          batch);
    }
    return from_values(ctx, dtype, suffix, repeated(batch, copies),
                       {copies * B * scan.shape.state_size()});
  };
  scan.xq = load("XQ", D), scan.xk = load("XK", D), scan.xv = load("XV", D);
  scan.lr = load("ttt_lr_eta", 1);
  scan.tok = whole("token_idx", {K});
  scan.ln_w = whole("ttt_norm_weight", {H, D});
  scan.ln_b = whole("ttt_norm_bias", {H, D});
  scan.states = states("", "_init");
  scan.dstates_last = states("cot.", "_last");
  const HostArray dy = golden.array("cot.out", {B, tokens, H * D});
  scan.dy = rows("cot.out", to_values(dy), H * D);
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

  Context ctx(options.device);
  const int64_t copies = options.micro_batch, sequences = copies * B;
  const Scan scan = make_scan(ctx, options.dtype, golden, copies);
  const auto run_in_chunks = [&](int64_t chunk_tokens) {
    const ChunkedBatch batch =
        blank_chunks(sequences, tokens, /*continues=*/true,
                     {.chunk_tokens = chunk_tokens,
                      .mini_batch_size = K,
                      .micro_batch_size = options.micro_batch});
    Results results{.pieces = {sequences, tokens}};
    for (int64_t i = 0; i < batch.num_micro_batches(); ++i) {
      run(ctx, scan, batch, i, mid, results);
    }
    return results;
  };
  std::map<std::string, Values> got;
  if (mid > 0) {  // once more, cut there
    const Results cut = run_in_chunks(mid);
    for (const char* name : {"_mid", "grad._mid"}) {
      got[name] = cut.pieces.of_this_rank(name);
    }
  }
  const Results results = run_in_chunks(chunk);
  for (const char* name : {"out", "_last", "grad._init"}) {
    got[name] = results.pieces.of_this_rank(name);
  }
  for (const char* name :
       {"grad.XQ", "grad.XK", "grad.XV", "grad.ttt_lr_eta"}) {
    got[name] =
        heads_first(results.pieces.of_this_rank(name), sequences, tokens, H);
  }
  got["grad.token_idx"] = results.dtok;
  got["grad.ttt_norm_weight"] = results.dln_w;
  got["grad.ttt_norm_bias"] = results.dln_b;
  compare_layer(options, golden,
                name_states(scan.shape, std::move(got), sequences), copies,
                report);
}

}  // namespace timepipe::golden
