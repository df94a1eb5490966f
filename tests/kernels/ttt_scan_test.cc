#include "kernels/ttt_scan.h"

#include <functional>
#include <limits>

#include "tests/kernels/ttt_scan_reference.h"
#include "tests/support/test_device.h"

namespace timepipe::testing {
namespace {

// Four documents: one that goes on with state_in and ends in a partial
// mini-batch, padding, a reset of two mini-batches, one without a reset (the
// state is carried on), and a reset at the end, with padding after it.
std::vector<Segment> packed_segments(int64_t b) {
  return {{.row = 0, .rows = b + 1, .context = 2 * b, .resets = false},
          {.row = 3 * b, .rows = 2 * b, .context = 0, .resets = true},
          {.row = 5 * b, .rows = b, .context = 0, .resets = false},
          {.row = 6 * b, .rows = 2 * b - b / 2, .context = 0, .resets = true}};
}

constexpr int64_t packed_tokens(int64_t b) { return 9 * b; }

using Case = std::tuple<InnerModel, int64_t, int64_t>;

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  const auto [inner, D, b] = info.param;
  return name_of_model(inner) + "D" + std::to_string(D) + "b" +
         std::to_string(b);
}

class TttScanDefinition : public ::testing::TestWithParam<Case> {};

TEST_P(TttScanDefinition, ForwardAgreesTokenByToken) {
  const auto [inner, D, b] = GetParam();
  TestContext ctx;
  ScanProblem p = random_problem(ctx, {inner, 2, D, b}, packed_tokens(b),
                                 packed_segments(b));
  const Reference expected = reference_forward(ctx, p);

  fill_padding(ctx, p, std::numeric_limits<double>::quiet_NaN());
  const ScanOutputs actual = run_forward(ctx, p);

  EXPECT_TRUE(close_l2(ctx, actual.y, expected.y, kSameF64));
  EXPECT_TRUE(close_l2(ctx, actual.state_out, expected.state, kSameF64));
}

INSTANTIATE_TEST_SUITE_P(AllSizes, TttScanDefinition,
                         Combine(Values(InnerModel::kLinear, InnerModel::kMlp),
                                 Values(1, 3, 4, 8, 16), Values(1, 5, 16)),
                         name_of_case);

class TttScanDifferences : public ::testing::TestWithParam<Case> {};

// The objective sum(y * dy) + sum(state_out * dstate_out).
double objective(Context& ctx, const ScanProblem& p) {
  const ScanOutputs out = run_forward(ctx, p);
  return inner_product(ctx, out.y, p.dy) +
         inner_product(ctx, out.state_out, p.dstate_out);
}

::testing::AssertionResult all_gradients_agree(Context& ctx,
                                               const ScanProblem& p,
                                               int64_t sample) {
  const Threads one(1);  // thousands of small scans: waking threads would cost
  const ScanGradients d = run_backward(ctx, p, run_forward(ctx, p));
  return gradients_agree(ctx, [&] { return objective(ctx, p); },
                         d.with(p, {{"start", p.start, d.dstart},
                                    {"state_in", p.state_in, d.dstate_in}}),
                         {.step = 1e-4, .sample = sample});
}

TEST_P(TttScanDifferences, AgreeWithFiniteDifferences) {
  const auto [inner, D, b] = GetParam();
  TestContext ctx;
  const ScanProblem p = random_problem(ctx, {inner, 2, D, b}, packed_tokens(b),
                                       packed_segments(b));
  EXPECT_TRUE(all_gradients_agree(ctx, p, 24));
}

TEST_P(TttScanDifferences, OfAChunkThatStartsWithAResetReachNoEarlierState) {
  const auto [inner, D, b] = GetParam();
  TestContext ctx;
  ScanProblem p =
      random_problem(ctx, {inner, 2, D, b}, 2 * b,
                     {{.row = 0, .rows = 2 * b, .context = 0, .resets = true}});
  const ScanOutputs with_state = run_forward(ctx, p);
  p.state_in = Tensor();
  const ScanOutputs out = run_forward(ctx, p);
  EXPECT_TRUE(same_bits(ctx, out.y, with_state.y));
  const ScanGradients d = run_backward(ctx, p, out);
  EXPECT_EQ(norm(to_f64(ctx, d.dstate_in)), 0);
  const Threads one(1);
  EXPECT_TRUE(gradients_agree(ctx, [&] { return objective(ctx, p); },
                              {{"start", p.start, d.dstart}},
                              {.step = 1e-4, .sample = 20}));
}

INSTANTIATE_TEST_SUITE_P(AllSizes, TttScanDifferences,
                         Combine(Values(InnerModel::kLinear, InnerModel::kMlp),
                                 Values(3, 8), Values(1, 3, 5)),
                         name_of_case);

// Heads that are too large for a device's fast memory, and more of them than
// it works on at a time.
TEST(TttScanSizes, LargeAndManyHeadsAgree) {
  TestContext ctx;
  for (const TttShape& shape : {TttShape{InnerModel::kMlp, 1, 40, 16},
                                TttShape{InnerModel::kLinear, 260, 2, 2}}) {
    const int64_t b = shape.mini_batch;
    const ScanProblem p = random_problem(
        ctx, shape, 2 * b,
        {{.row = 0, .rows = b + 1, .context = b, .resets = false}});
    EXPECT_TRUE(close_l2(ctx, run_forward(ctx, p).y,
                         reference_forward(ctx, p).y, kSameF64));
    EXPECT_TRUE(all_gradients_agree(ctx, p, 1));
  }
}

class TttScanOf : public ::testing::TestWithParam<InnerModel> {};

TEST_P(TttScanOf, GradientsAgreeOverSeveralKeptStates) {
  TestContext ctx;
  const TttShape shape{GetParam(), 1, 4, 2};
  const ScanProblem p =
      random_problem(ctx, shape, 76,
                     {{.row = 0, .rows = 32, .context = 8, .resets = false},
                      {.row = 32, .rows = 44, .context = 0, .resets = true}});
  EXPECT_GE(ttt_scan_kept_elements(ctx.device(), shape, rows_of_one(76)),
            3 * shape.state_size());
  EXPECT_TRUE(all_gradients_agree(ctx, p, 12));
}

void expect_same_in_chunks(Context& ctx, const ScanProblem& p) {
  const Threads one(1);
  const int64_t b = p.shape.mini_batch;
  const std::vector<Vector> whole = run_in_chunks(ctx, p, p.tokens());
  for (const int64_t chunk : {b, 2 * b, 3 * b, 20 * b}) {
    const std::vector<Vector> split = run_in_chunks(ctx, p, chunk);
    for (std::size_t i = 0; i < whole.size(); ++i) {
      EXPECT_TRUE(close_l2(split[i], whole[i], kSameF64))
          << "result " << i << " in chunks of " << chunk;
    }
  }
}

TEST_P(TttScanOf, SplitIntoChunksDoesNotChangeTheResult) {
  TestContext ctx;
  ScanProblem p = random_problem(ctx, {GetParam(), 2, 6, 4}, packed_tokens(4),
                                 packed_segments(4));
  fill_padding(ctx, p, std::numeric_limits<double>::quiet_NaN());
  expect_same_in_chunks(ctx, p);
}

TEST_P(TttScanOf, SplitIntoChunksDoesNotChangeALongResult) {
  TestContext ctx;
  const ScanProblem p =
      random_problem(ctx, {GetParam(), 2, 4, 3}, 120,
                     {{.row = 0, .rows = 55, .context = 3, .resets = false},
                      {.row = 57, .rows = 63, .context = 0, .resets = true}});
  expect_same_in_chunks(ctx, p);
}

TEST_P(TttScanOf, PackedDocumentsEqualSeparateRuns) {
  TestContext ctx;
  const int64_t b = 4;
  const TttShape shape{GetParam(), 2, 6, b};
  const std::vector<Segment> documents = {
      {.row = 0, .rows = 7, .context = 0, .resets = true},
      {.row = 8, .rows = 1, .context = 0, .resets = true},
      {.row = 16, .rows = 8, .context = 0, .resets = true}};
  ScanProblem packed = random_problem(ctx, shape, 24, documents);
  packed.dstate_out = Tensor();
  const ScanOutputs out = run_forward(ctx, packed);
  const ScanGradients d = run_backward(ctx, packed, out);
  Vector dstart;
  for (const Segment& s : documents) {
    const int64_t begin = s.row, end = s.row + s.rows;
    const ScanProblem alone = chunk_of(packed, begin, end);
    const ScanOutputs alone_out = run_forward(ctx, alone);
    const ScanGradients alone_d = run_backward(ctx, alone, alone_out);
    EXPECT_TRUE(same_bits(ctx, out.y.slice(begin, end), alone_out.y));
    EXPECT_TRUE(same_bits(ctx, d.dxq.slice(begin, end), alone_d.dxq));
    EXPECT_TRUE(same_bits(ctx, d.dxk.slice(begin, end), alone_d.dxk));
    EXPECT_TRUE(same_bits(ctx, d.dxv.slice(begin, end), alone_d.dxv));
    EXPECT_TRUE(same_bits(ctx, d.dlr.slice(begin, end), alone_d.dlr));
    accumulate(ctx, dstart, alone_d.dstart);
  }
  EXPECT_TRUE(close_l2(ctx, d.dstart, dstart, kSameF64));
}

TEST_P(TttScanOf, RowsOutsideSegmentsAreZero) {
  TestContext ctx;
  ScanProblem p = random_problem(ctx, {GetParam(), 2, 4, 3}, packed_tokens(3),
                                 packed_segments(3));
  fill_padding(ctx, p, std::numeric_limits<double>::quiet_NaN());
  const ScanOutputs out = run_forward(ctx, p);
  const ScanGradients d = run_backward(ctx, p, out);
  for (const Tensor& t : {out.y, d.dxq, d.dxk, d.dxv, d.dlr}) {
    EXPECT_EQ(norm(to_f64(ctx, t.slice(4, 9))), 0);
    EXPECT_EQ(norm(to_f64(ctx, t.slice(23, 27))), 0);
  }
}

TEST_P(TttScanOf, WithoutSegmentsTheStatePassesThrough) {
  TestContext ctx;
  const ScanProblem p = random_problem(ctx, {GetParam(), 2, 4, 3}, 6, {});
  const ScanOutputs out = run_forward(ctx, p);
  const ScanGradients d = run_backward(ctx, p, out);
  EXPECT_TRUE(same_bits(ctx, out.state_out, p.state_in));
  EXPECT_TRUE(same_bits(ctx, d.dstate_in, p.dstate_out));
  for (const Tensor& t : {out.y, d.dxq, d.dtok, d.dln_w, d.dstart}) {
    EXPECT_EQ(norm(to_f64(ctx, t)), 0);
  }
}

TEST_P(TttScanOf, BitsDoNotDependOnThreadsOrRepetition) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    TestContext ctx;
    const ScanProblem p =
        random_problem(ctx, {GetParam(), 5, 6, 4}, packed_tokens(4),
                       packed_segments(4), dtype);
    EXPECT_TRUE(
        same_bits_for_any_threads(ctx, [&] { return run_both(ctx, p); }));
  }
}

TEST_P(TttScanOf, SinglePrecisionAgreesWithDouble) {
  TestContext ctx;
  const int64_t D = 16, b = 8, tokens = 160;
  ScanProblem p = random_problem(
      ctx, {GetParam(), 2, D, b}, tokens,
      {{.row = 0, .rows = tokens, .context = b, .resets = false}}, DType::kF32);
  const std::vector<Tensor> single = run_both(ctx, p);
  for (Tensor* t : {&p.xq, &p.xk, &p.xv, &p.lr, &p.tok, &p.ln_w, &p.ln_b,
                    &p.start, &p.state_in, &p.dy, &p.dstate_out}) {
    *t = from_f64(ctx, to_f64(ctx, *t), t->shape(), DType::kF64);
  }
  const std::vector<Tensor> expected = run_both(ctx, p);
  for (std::size_t i = 0; i < single.size(); ++i) {
    EXPECT_TRUE(close_l2(ctx, single[i], expected[i],
                         rounding(DType::kF32, tokens * D)))
        << "result " << i;
  }
}

// Documents, padding and a partial mini-batch.
TEST_P(TttScanOf, StoresWhatItComputesInBf16) {
  TestContext ctx;
  const auto [stored, wide] = stored_and_wide(
      ctx, random_problem(ctx, {GetParam(), 2, 8, 4}, 39,
                          {{0, 9, 3, false}, {12, 8, 0, true}, {20, 18, 0, 1}},
                          DType::kF32));
  expect_rounded(ctx, run_both(ctx, stored), run_both(ctx, wide));
}

INSTANTIATE_TEST_SUITE_P(BothModels, TttScanOf,
                         Values(InnerModel::kLinear, InnerModel::kMlp),
                         [](const auto& info) {
                           return name_of_model(info.param);
                         });

// What a change of a good problem makes the scan say.
struct Mistake {
  std::function<void(Context&, ScanProblem&)> make;
  std::string says;
};

std::vector<Mistake> mistakes() {
  const auto tensor = [](Tensor ScanProblem::*member, Shape shape,
                         std::string says, DType dtype = DType::kF64) {
    return Mistake{[=](Context& ctx, ScanProblem& p) {
                     p.*member = ctx.zeros(shape, dtype);
                   },
                   std::move(says)};
  };
  const auto segment = [](Segment s, std::string says) {
    return Mistake{[=](Context&, ScanProblem& p) { p.segments.push_back(s); },
                   std::move(says)};
  };
  return {
      tensor(&ScanProblem::xk, {12, 7}, "xk: shape [12,7], expected [12,8]"),
      tensor(&ScanProblem::xv, {12, 8}, "xv: dtype f32", DType::kF32),
      tensor(&ScanProblem::lr, {12, 1}, "lr: shape [12,1], expected [12,2]"),
      tensor(&ScanProblem::tok, {2}, "tok: shape [2], expected [3]"),
      tensor(&ScanProblem::ln_w, {8}, "ln_w: shape [8], expected [2,4]"),
      tensor(&ScanProblem::ln_b, {2, 3}, "ln_b: shape [2,3]"),
      tensor(&ScanProblem::start, {39}, "start: shape [39], expected [40]"),
      tensor(&ScanProblem::state_in, {0}, "state_in: shape [0]"),
      {[](Context&, ScanProblem& p) { p.shape.head_size = 5; }, "xq: shape"},
      {[](Context&, ScanProblem& p) { p.shape.heads = 0; },
       "shape.heads: 0, expected 1 or more"},
      segment({3, 3, 3, false}, "segments[1].row: 3, expected a multiple of 3"),
      segment({7, 3, 0, true}, "segments[1].row: 7, expected a multiple of 3"),
      segment({6, 7, 0, true}, "segments[1].rows: 7, expected 1 to 6"),
      segment({6, 0, 0, true}, "segments[1].rows: 0, expected 1 to 6"),
      segment({6, 3, 0, true, 1},
              "segments[1].member: 1 of row 6, expected that of the row, "
              "below 1"),
  };
}

TEST(TttScanErrors, ForwardNamesWhatIsWrong) {
  TestContext ctx;
  for (const Mistake& mistake : mistakes()) {
    ScanProblem p = random_problem(ctx, {InnerModel::kLinear, 2, 4, 3}, 12,
                                   {{0, 4, 3, false}});
    ScanOutputs out = run_forward(ctx, p);
    mistake.make(ctx, p);
    EXPECT_THAT([&] { forward_into(ctx, p, out); }, refuses(mistake.says));
  }
}

TEST(TttScanErrors, EveryFunctionChecksTheRows) {
  TestContext ctx;
  ScanProblem p = random_problem(ctx, {InnerModel::kLinear, 2, 4, 3}, 12,
                                 {{0, 4, 3, false}});
  ScanOutputs out = run_forward(ctx, p);
  ScanGradients d(ctx, p);
  const TttScanGradients rows = d.of(p);
  p.segments.push_back({7, 3, 0, true});
  const TttScan scan = out.of(p);
  const std::string says = "segments[1].row: 7, expected a multiple of 3";
  EXPECT_THAT([&] { ttt_scan_prepare(ctx, scan); }, refuses(says));
  EXPECT_THAT(
      [&] { ttt_scan_forward(ctx, scan, p.start, p.state_in, out.state_out); },
      refuses(says));
  EXPECT_THAT([&] { ttt_scan_read(ctx, scan); }, refuses(says));
  EXPECT_THAT([&] { ttt_scan_backward_read(ctx, scan, rows); }, refuses(says));
  EXPECT_THAT(
      [&] {
        ttt_scan_backward(ctx, scan, rows, p.start, p.dstate_out, d.dstate_in,
                          d.dstart);
      },
      refuses(says));
  EXPECT_THAT([&] { ttt_scan_backward_finish(ctx, scan, rows); },
              refuses(says));
}

TEST(TttScanErrors, StateOutMustNotAliasStateIn) {
  TestContext ctx;
  const ScanProblem p =
      random_problem(ctx, {InnerModel::kMlp, 2, 4, 3}, 12, {{0, 4, 3, false}});
  ScanOutputs out = run_forward(ctx, p);
  out.state_out = p.state_in;
  EXPECT_THAT([&] { forward_into(ctx, p, out); }, refuses("state_out"));
}

TEST(TttScanErrors, BackwardNamesWhatIsWrong) {
  TestContext ctx;
  ScanProblem p = random_problem(ctx, {InnerModel::kLinear, 2, 4, 3}, 12,
                                 {{0, 4, 3, false}});
  ScanOutputs out = run_forward(ctx, p);
  const auto backward = [&] { run_backward(ctx, p, out); };
  const Tensor kept = out.kept;
  out.kept = kept.slice(0, 0);
  EXPECT_THAT(backward, refuses("kept: "));
  out.kept = kept;
  const Tensor dy = p.dy;
  p.dy = ctx.zeros({12, 4}, DType::kF64);
  EXPECT_THAT(backward, refuses("dy: shape [12,4]"));
  p.dy = dy;
  p.dstate_out = ctx.zeros({12}, DType::kF64);
  EXPECT_THAT(backward, refuses("dstate_out: shape [12]"));
}

TEST(TttShape, CountsStatesOfWhichTheHostKeepsEverySixteenth) {
  const TttShape linear{InnerModel::kLinear, 3, 4, 5};
  EXPECT_EQ(linear.state_size(), 3 * (4 * 4 + 4));
  const TttShape mlp{InnerModel::kMlp, 3, 4, 5};
  EXPECT_EQ(mlp.state_size(), 3 * (4 * 16 + 16 + 16 * 4 + 4));
  const auto kept = [&](int64_t tokens) {
    return ttt_scan_kept_elements(Device{}, linear, rows_of_one(tokens)) /
           linear.state_size();
  };
  EXPECT_EQ(kept(0), 0);
  EXPECT_EQ(kept(1), 1);
  EXPECT_EQ(kept(16 * 5), 1);
  EXPECT_EQ(kept(16 * 5 + 1), 2);
}

}  // namespace
}  // namespace timepipe::testing
