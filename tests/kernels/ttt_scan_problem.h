#pragma once

// Scans with random inputs, for the tests of the TTT scan and of its decoding
// form.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kernels/ttt_scan.h"
#include "tests/kernels/kernel_test.h"

namespace timepipe::testing {

inline std::string name_of_model(InnerModel inner) {
  return inner == InnerModel::kLinear ? "Linear" : "Mlp";
}

struct ScanProblem {
  TttShape shape;
  std::vector<Segment> segments;
  Tensor xq, xk, xv, lr, tok, ln_w, ln_b, start, state_in;
  Tensor dy, dstate_out;

  int64_t members = 1, stride = 0;  // of several sequences side by side

  int64_t tokens() const { return xq.dim(0); }
  ChunkRows rows() const {
    return members == 1
               ? rows_of_one(tokens())
               : ChunkRows{members, tokens() - (members - 1) * stride, stride};
  }
};

struct ScanOutputs {
  Tensor y, state_out, kept;

  TttScan of(const ScanProblem& p) const {
    return {p.shape, p.rows(), p.segments, p.xq,   p.xk, p.xv,
            p.lr,    p.tok,    p.ln_w,     p.ln_b, kept, y};
  }

  std::vector<Tensor> all() const { return {y, state_out, kept}; }
};

// NaN-filled: what is passed unwritten shows.
inline Tensor nans_like(Context& ctx, const Tensor& t) {
  return nans(ctx, t.shape(), t.dtype());
}

// Of the inputs that the scan and its decoding form share.
struct InputGradients {
  InputGradients(Context& ctx, const ScanProblem& p)
      : dxq(nans_like(ctx, p.xq)),
        dxk(nans_like(ctx, p.xk)),
        dxv(nans_like(ctx, p.xv)),
        dlr(nans_like(ctx, p.lr)),
        dtok(nans_like(ctx, p.tok)),
        dln_w(nans_like(ctx, p.ln_w)),
        dln_b(nans_like(ctx, p.ln_b)) {}
  // For gradients_agree, with `states`, which they don't share.
  std::vector<GradientOf> with(const ScanProblem& p,
                               std::vector<GradientOf> states) const {
    std::vector<GradientOf> all = {
        {"xq", p.xq, dxq},      {"xk", p.xk, dxk},    {"xv", p.xv, dxv},
        {"lr", p.lr, dlr},      {"tok", p.tok, dtok}, {"ln_w", p.ln_w, dln_w},
        {"ln_b", p.ln_b, dln_b}};
    all.insert(all.end(), states.begin(), states.end());
    return all;
  }
  Tensor dxq, dxk, dxv, dlr, dtok, dln_w, dln_b;
};

struct ScanGradients : InputGradients {
  ScanGradients(Context& ctx, const ScanProblem& p)
      : InputGradients(ctx, p),
        dstate_in(nans(ctx, {p.members * p.shape.state_size()}, p.lr.dtype())),
        dstart(nans_like(ctx, p.start)),
        passed(nans(ctx,
                    {ttt_scan_passed_elements(ctx.device(), p.shape, p.rows())},
                    p.lr.dtype())) {}
  TttScanGradients of(const ScanProblem& p) const {
    return {p.dy, dxq, dxk, dxv, dlr, dtok, dln_w, dln_b, passed};
  }
  std::vector<Tensor> all() const {
    return {dxq, dxk, dxv, dlr, dtok, dln_w, dln_b, dstate_in, dstart};
  }
  Tensor dstate_in, dstart, passed;
};

inline ScanProblem random_problem(Context& ctx, const TttShape& shape,
                                  int64_t tokens, std::vector<Segment> segments,
                                  DType dtype = DType::kF64) {
  const int64_t H = shape.heads, D = shape.head_size, b = shape.mini_batch;
  Generator rng(19);
  const auto rows = [&] { return normal(ctx, rng, {tokens, H * D}, dtype); };
  const auto around = [&](double mean, double stddev, Shape to) {
    return generate(ctx, std::move(to), dtype,
                    [&](int64_t) { return mean + stddev * normal(rng); });
  };
  ScanProblem p;
  p.shape = shape;
  p.segments = std::move(segments);
  p.xq = rows();
  p.xk = rows();
  p.xv = rows();
  p.lr = around(0.1, 0.02, {tokens, H});
  p.tok = generate(ctx, {b}, dtype, [&](int64_t i) {
    return 1. / static_cast<double>(i + 1) + 0.1 * uniform(rng);
  });
  p.ln_w = around(1, 0.2, {H, D});
  p.ln_b = around(0, 0.2, {H, D});
  p.start = around(0, 0.5, {shape.state_size()});
  p.state_in = around(0, 0.5, {shape.state_size()});
  p.dy = rows();
  p.dstate_out = around(0, 1, {shape.state_size()});
  return p;
}

inline void forward_into(Context& ctx, const ScanProblem& p, ScanOutputs& out) {
  const TttScan scan = out.of(p);
  ttt_scan_prepare(ctx, scan);
  ttt_scan_forward(ctx, scan, p.start, p.state_in, out.state_out);
  ttt_scan_read(ctx, scan);
}

inline ScanOutputs run_forward(Context& ctx, const ScanProblem& p) {
  const DType dtype = p.lr.dtype();
  const int64_t size = p.shape.state_size();
  ScanOutputs out{
      nans(ctx, p.xq.shape(), dtype), nans(ctx, {p.members * size}, dtype),
      nans(ctx, {ttt_scan_kept_elements(ctx.device(), p.shape, p.rows())},
           dtype)};
  forward_into(ctx, p, out);
  return out;
}

inline ScanGradients run_backward(Context& ctx, const ScanProblem& p,
                                  const ScanOutputs& out) {
  ScanGradients d(ctx, p);
  const TttScan scan = out.of(p);
  const TttScanGradients rows = d.of(p);
  ttt_scan_backward_read(ctx, scan, rows);
  ttt_scan_backward(ctx, scan, rows, p.start, p.dstate_out, d.dstate_in,
                    d.dstart);
  ttt_scan_backward_finish(ctx, scan, rows);
  return d;
}

// The same numbers twice: q, k and v stored in bf16, and all in f32.
inline std::pair<ScanProblem, ScanProblem> stored_and_wide(Context& ctx,
                                                           ScanProblem p) {
  ScanProblem wide = p;
  const auto round = [&](Tensor& stored, Tensor& widened) {
    const HostArray rounded = converted(download(ctx, stored), DType::kBF16);
    stored = upload(ctx, rounded);
    widened = upload(ctx, converted(rounded, DType::kF32));
  };
  round(p.xq, wide.xq);
  round(p.xk, wide.xk);
  round(p.xv, wide.xv);
  return {p, wide};
}

// Whether results are the same bits, those that are stored in bf16 once
// rounded, and rounding changes those.
inline void expect_rounded(Context& ctx, const std::vector<Tensor>& stored,
                           const std::vector<Tensor>& wide) {
  ASSERT_EQ(stored.size(), wide.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    SCOPED_TRACE("result " + std::to_string(i));
    if (stored[i].dtype() == wide[i].dtype()) {
      EXPECT_TRUE(same_bits(ctx, stored[i], wide[i]));
    } else {
      expect_rounded(ctx, stored[i], wide[i]);
    }
  }
}

// The tensors with a row per token.
inline std::vector<Tensor*> row_tensors(ScanProblem& p) {
  return {&p.xq, &p.xk, &p.xv, &p.lr, &p.dy};
}

// The problem's rows [begin, end) as a chunk of their own.
inline ScanProblem chunk_of(const ScanProblem& whole, int64_t begin,
                            int64_t end) {
  ScanProblem p = whole;
  for (Tensor* t : row_tensors(p)) *t = t->slice(begin, end);
  p.segments.clear();
  for (const Segment& s : whole.segments) {
    const int64_t from = std::max(begin, s.row);
    const int64_t to = std::min(end, s.row + s.rows);
    if (from >= to) continue;
    const bool first = from == s.row;
    p.segments.push_back(
        {.row = from - begin,
         .rows = to - from,
         .context = first ? s.context : s.context + from - s.row,
         .resets = first && s.resets});
  }
  return p;
}

inline void fill_padding(Context& ctx, ScanProblem& p, double value) {
  for (Tensor* t : row_tensors(p)) {
    int64_t end = 0;
    for (const Segment& s : p.segments) {
      fill(ctx, value, t->slice(end, s.row));
      end = s.row + s.rows;
    }
    fill(ctx, value, t->slice(end, p.tokens()));
  }
}

// All results.
inline std::vector<Tensor> run_both(Context& ctx, const ScanProblem& p) {
  const ScanOutputs out = run_forward(ctx, p);
  std::vector<Tensor> all = out.all();
  for (const Tensor& t : run_backward(ctx, p, out).all()) {
    all.push_back(t);
  }
  return all;
}

// a += b, element by element.
inline void accumulate(Context& ctx, std::vector<double>& a, const Tensor& b) {
  const std::vector<double> values = to_f64(ctx, b);
  a.resize(values.size());
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += values[i];
}

inline void append(Context& ctx, std::vector<double>& a, const Tensor& b) {
  const std::vector<double> values = to_f64(ctx, b);
  a.insert(a.end(), values.begin(), values.end());
}

// All results of a problem that is run in chunks of `chunk` rows: rows in
// order, sums over the chunks, the state at both ends.
inline std::vector<std::vector<double>> run_in_chunks(Context& ctx,
                                                      const ScanProblem& whole,
                                                      int64_t chunk) {
  std::vector<ScanProblem> chunks;
  std::vector<ScanOutputs> outputs;
  std::vector<double> y;
  Tensor state = whole.state_in;
  for (int64_t row = 0; row < whole.tokens(); row += chunk) {
    chunks.push_back(
        chunk_of(whole, row, std::min(whole.tokens(), row + chunk)));
    chunks.back().state_in = state;
    outputs.push_back(run_forward(ctx, chunks.back()));
    state = outputs.back().state_out;
    append(ctx, y, outputs.back().y);
  }
  std::vector<ScanGradients> gradients;  // of the last chunk first
  Tensor dstate = whole.dstate_out;
  std::vector<std::vector<double>> sums(4), rows(4);
  for (std::size_t i = chunks.size(); i-- > 0;) {
    chunks[i].dstate_out = dstate;
    gradients.push_back(run_backward(ctx, chunks[i], outputs[i]));
    const ScanGradients& d = gradients.back();
    dstate = d.dstate_in;
    accumulate(ctx, sums[0], d.dtok);
    accumulate(ctx, sums[1], d.dln_w);
    accumulate(ctx, sums[2], d.dln_b);
    accumulate(ctx, sums[3], d.dstart);
  }
  for (auto d = gradients.rbegin(); d != gradients.rend(); ++d) {
    append(ctx, rows[0], d->dxq);
    append(ctx, rows[1], d->dxk);
    append(ctx, rows[2], d->dxv);
    append(ctx, rows[3], d->dlr);
  }
  return {y,
          to_f64(ctx, state),
          to_f64(ctx, dstate),
          sums[0],
          sums[1],
          sums[2],
          sums[3],
          rows[0],
          rows[1],
          rows[2],
          rows[3]};
}

}  // namespace timepipe::testing
