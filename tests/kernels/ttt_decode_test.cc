#include "kernels/ttt_decode.h"

#include "tests/kernels/ttt_scan_reference.h"
#include "tests/support/test_device.h"

namespace timepipe::testing {
namespace {

// Rows of one mini-batch; `scan` holds the rows, tok of their places and, as
// state_in, the state before the mini-batch.
struct DecodeProblem {
  ScanProblem scan;
  Tensor sum_in, dsum_out;
};

DecodeProblem random_decode(Context& ctx, const TttShape& shape, int64_t rows,
                            DType dtype = DType::kF64) {
  DecodeProblem p{
      random_problem(
          ctx, shape, rows,
          {{.row = 0, .rows = rows, .context = shape.mini_batch, .resets = 0}},
          dtype),
      {},
      {}};
  Generator rng(31);
  p.sum_in = normal(ctx, rng, {shape.state_size()}, dtype);
  p.dsum_out = normal(ctx, rng, {shape.state_size()}, dtype);
  p.scan.tok = p.scan.tok.slice(shape.mini_batch - rows, shape.mini_batch);
  return p;
}

struct DecodeOutputs {
  Tensor y, sum_out, state_last;
};

void forward_into(Context& ctx, const DecodeProblem& p, DecodeOutputs& out) {
  const ScanProblem& s = p.scan;
  ttt_decode_forward(ctx, {.shape = s.shape,
                           .xq = s.xq,
                           .xk = s.xk,
                           .xv = s.xv,
                           .lr = s.lr,
                           .tok = s.tok,
                           .ln_w = s.ln_w,
                           .ln_b = s.ln_b,
                           .state = s.state_in,
                           .sum_in = p.sum_in,
                           .y = out.y,
                           .sum_out = out.sum_out,
                           .state_last = out.state_last});
}

DecodeOutputs run_forward(Context& ctx, const DecodeProblem& p) {
  DecodeOutputs out{nans_like(ctx, p.scan.dy), nans_like(ctx, p.sum_in),
                    nans_like(ctx, p.sum_in)};
  forward_into(ctx, p, out);
  return out;
}

struct DecodeGradients : InputGradients {
  DecodeGradients(Context& ctx, const DecodeProblem& p)
      : InputGradients(ctx, p.scan),
        dstate(nans_like(ctx, p.scan.state_in)),
        dsum_in(nans_like(ctx, p.sum_in)) {}
  Tensor dstate, dsum_in;
};

DecodeGradients run_backward(Context& ctx, const DecodeProblem& p) {
  const ScanProblem& s = p.scan;
  DecodeGradients d(ctx, p);
  ttt_decode_backward(ctx, {.shape = s.shape,
                            .xq = s.xq,
                            .xk = s.xk,
                            .xv = s.xv,
                            .lr = s.lr,
                            .tok = s.tok,
                            .ln_w = s.ln_w,
                            .ln_b = s.ln_b,
                            .state = s.state_in,
                            .sum_in = p.sum_in,
                            .dy = s.dy,
                            .dsum_out = p.dsum_out,
                            .dstate_last = s.dstate_out,
                            .dxq = d.dxq,
                            .dxk = d.dxk,
                            .dxv = d.dxv,
                            .dlr = d.dlr,
                            .dtok = d.dtok,
                            .dln_w = d.dln_w,
                            .dln_b = d.dln_b,
                            .dstate = d.dstate,
                            .dsum_in = d.dsum_in});
  return d;
}

struct DecodeReference {
  Vector y, sum, state;
};

// The definition: row i reads state - tok[i] * sum.
DecodeReference reference_decode(Context& ctx, const DecodeProblem& p) {
  const ScanProblem& s = p.scan;
  DecodeReference out{Vector(static_cast<std::size_t>(s.xq.numel())),
                      to_f64(ctx, p.sum_in), to_f64(ctx, s.state_in)};
  for (int64_t h = 0; h < s.shape.heads; ++h) {
    ReferenceState before, sum, state;
    exchange(s.shape, h, out.state, before, false);
    exchange(s.shape, h, out.sum, sum, false);
    for (int64_t t = 0; t < s.tokens(); ++t) {
      reference_token(ctx, s, h, t, t, before, sum, state, out.y);
    }
    exchange(s.shape, h, out.sum, sum, true);
    exchange(s.shape, h, out.state, state, true);
  }
  return out;
}

// Inner model, head size, rows.
using Case = std::tuple<InnerModel, int64_t, int64_t>;

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  const auto [inner, D, rows] = info.param;
  return name_of_model(inner) + "D" + std::to_string(D) + "r" +
         std::to_string(rows);
}

class TttDecode : public ::testing::TestWithParam<Case> {
 protected:
  DecodeProblem problem(DType dtype = DType::kF64) {
    const auto [inner, D, rows] = GetParam();
    return random_decode(ctx_, {inner, 3, D, 7}, rows, dtype);
  }
  TestContext ctx_;
};

TEST_P(TttDecode, ForwardAgreesTokenByToken) {
  const DecodeProblem p = problem();
  const DecodeReference expected = reference_decode(ctx_, p);
  const DecodeOutputs out = run_forward(ctx_, p);
  EXPECT_TRUE(close_l2(ctx_, out.y, expected.y, kSameF64));
  EXPECT_TRUE(close_l2(ctx_, out.sum_out, expected.sum, kSameF64));
  EXPECT_TRUE(close_l2(ctx_, out.state_last, expected.state, kSameF64));
}

TEST_P(TttDecode, GradientsAgreeWithFiniteDifferences) {
  const DecodeProblem p = problem();
  const ScanProblem& s = p.scan;
  const Threads one(1);
  const DecodeGradients d = run_backward(ctx_, p);
  const auto objective = [&] {
    const DecodeOutputs out = run_forward(ctx_, p);
    return inner_product(ctx_, out.y, s.dy) +
           inner_product(ctx_, out.sum_out, p.dsum_out) +
           inner_product(ctx_, out.state_last, s.dstate_out);
  };
  EXPECT_TRUE(gradients_agree(
      ctx_, objective,
      d.with(s, {{"state", s.state_in, d.dstate},
                 {"sum_in", p.sum_in, d.dsum_in}}),
      {.step = 1e-4, .sample = s.shape.head_size > 8 ? 3 : 24}));
}

TEST_P(TttDecode, WithoutEarlierTokensIsTheDualForm) {
  DecodeProblem p = problem();
  const ScanProblem& s = p.scan;
  p.sum_in = ctx_.zeros(p.sum_in.shape(), DType::kF64);
  p.dsum_out = Tensor();
  ScanProblem scan = s;
  scan.shape.mini_batch = s.tokens();
  scan.segments = {
      {.row = 0, .rows = s.tokens(), .context = s.tokens(), .resets = false}};
  const ScanOutputs expected = run_forward(ctx_, scan);
  const ScanGradients de = run_backward(ctx_, scan, expected);
  const DecodeOutputs out = run_forward(ctx_, p);
  const DecodeGradients d = run_backward(ctx_, p);
  EXPECT_TRUE(close_l2(ctx_, out.y, to_f64(ctx_, expected.y), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, out.state_last, to_f64(ctx_, expected.state_out),
                       kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dxq, to_f64(ctx_, de.dxq), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dxk, to_f64(ctx_, de.dxk), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dxv, to_f64(ctx_, de.dxv), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dlr, to_f64(ctx_, de.dlr), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dtok, to_f64(ctx_, de.dtok), kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dstate, to_f64(ctx_, de.dstate_in), kSameF64));
}

// The problem's rows [begin, end) alone.
DecodeProblem rows_of(const DecodeProblem& p, int64_t begin, int64_t end) {
  DecodeProblem part = p;
  for (Tensor* t : row_tensors(part.scan)) *t = t->slice(begin, end);
  part.scan.tok = p.scan.tok.slice(begin, end);
  return part;
}

TEST_P(TttDecode, SplitIntoCallsDoesNotChangeTheResult) {
  const DecodeProblem p = problem();
  const int64_t rows = p.scan.tokens();
  if (rows == 1) return;
  const DecodeOutputs whole = run_forward(ctx_, p);
  const DecodeGradients d = run_backward(ctx_, p);
  const DecodeProblem first = rows_of(p, 0, rows / 2);
  DecodeProblem second = rows_of(p, rows / 2, rows);
  const DecodeOutputs a = run_forward(ctx_, first);
  second.sum_in = a.sum_out;
  const DecodeOutputs b = run_forward(ctx_, second);
  Vector y = to_f64(ctx_, a.y);
  append(ctx_, y, b.y);
  EXPECT_TRUE(close_l2(ctx_, whole.y, y, kSameF64));
  EXPECT_TRUE(close_l2(ctx_, whole.sum_out, to_f64(ctx_, b.sum_out), kSameF64));
  EXPECT_TRUE(
      close_l2(ctx_, whole.state_last, to_f64(ctx_, b.state_last), kSameF64));

  const DecodeGradients db = run_backward(ctx_, second);
  DecodeProblem back = first;
  back.dsum_out = db.dsum_in;
  back.scan.dstate_out = Tensor();
  const DecodeGradients da = run_backward(ctx_, back);
  Vector dxk = to_f64(ctx_, da.dxk), dstate = to_f64(ctx_, da.dstate);
  append(ctx_, dxk, db.dxk);
  accumulate(ctx_, dstate, db.dstate);
  EXPECT_TRUE(close_l2(ctx_, d.dxk, dxk, kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dstate, dstate, kSameF64));
  EXPECT_TRUE(close_l2(ctx_, d.dsum_in, to_f64(ctx_, da.dsum_in), kSameF64));
}

TEST_P(TttDecode, StateAndSumInPlaceGiveTheSameBits) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const DecodeProblem p = problem(dtype);
    const DecodeOutputs apart = run_forward(ctx_, p);
    DecodeOutputs inside{apart.y, p.sum_in, p.scan.state_in};
    forward_into(ctx_, p, inside);
    EXPECT_TRUE(same_bits(ctx_, p.sum_in, apart.sum_out));
    EXPECT_TRUE(same_bits(ctx_, p.scan.state_in, apart.state_last));
  }
}

TEST_P(TttDecode, BitsDoNotDependOnThreads) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const DecodeProblem p = problem(dtype);
    EXPECT_TRUE(same_bits_for_any_threads(ctx_, [&] {
      const DecodeOutputs out = run_forward(ctx_, p);
      const DecodeGradients d = run_backward(ctx_, p);
      return std::vector<Tensor>{
          out.y,   out.sum_out, out.state_last, d.dxq,   d.dtok,
          d.dln_w, d.dstate,    d.dsum_in,      d.dln_b, d.dlr};
    }));
  }
}

TEST_P(TttDecode, StoresWhatItComputesInBf16) {
  DecodeProblem p = problem(DType::kF32);
  const auto results = [&](const ScanProblem& scan) {
    p.scan = scan;
    const DecodeOutputs out = run_forward(ctx_, p);
    const DecodeGradients d = run_backward(ctx_, p);
    return std::vector<Tensor>{out.y,   out.sum_out, out.state_last, d.dxq,
                               d.dxk,   d.dxv,       d.dlr,          d.dtok,
                               d.dln_w, d.dln_b,     d.dstate,       d.dsum_in};
  };
  const auto [stored, wide] = stored_and_wide(ctx_, p.scan);
  expect_rounded(ctx_, results(stored), results(wide));
}

INSTANTIATE_TEST_SUITE_P(AllSizes, TttDecode,
                         Combine(Values(InnerModel::kLinear, InnerModel::kMlp),
                                 Values(4, 6), Values(1, 2, 5, 7)),
                         name_of_case);
// Where a device takes larger blocks, and scratch from its own memory.
INSTANTIATE_TEST_SUITE_P(LargeHeads, TttDecode,
                         Combine(Values(InnerModel::kLinear, InnerModel::kMlp),
                                 Values(48), Values(7)),
                         name_of_case);

TEST(TttDecodeErrors, NamesWhatIsWrong) {
  TestContext ctx;
  const DecodeProblem good =
      random_decode(ctx, {InnerModel::kLinear, 2, 4, 3}, 2);
  const auto forward = [&](const DecodeProblem& p) {
    return [&ctx, p] { run_forward(ctx, p); };
  };
  DecodeProblem p = good;
  p.scan.shape.mini_batch = 1;
  EXPECT_THAT(forward(p),
              refuses("xq: shape [2,8], expected 1 to 1 rows of 8"));
  p = good;
  p.scan.tok = ctx.zeros({3}, DType::kF64);
  EXPECT_THAT(forward(p), refuses("tok: shape [3], expected [2]"));
  p = good;
  p.sum_in = ctx.zeros({3}, DType::kF64);
  EXPECT_THAT(forward(p), refuses("sum_in: shape [3], expected [40]"));
  p = good;
  p.scan.state_in = ctx.zeros({40}, DType::kF32);
  EXPECT_THAT(forward(p), refuses("state: dtype f32"));
}

}  // namespace
}  // namespace timepipe::testing
