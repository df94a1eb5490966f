#include <vector>

#include "tests/kernels/ttt_scan_problem.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

// The scan of several sequences side by side.

namespace timepipe::testing {
namespace {

class TttScanMembers : public ::testing::TestWithParam<InnerModel> {};

// One that goes on and starts a document, one that starts afresh, one of
// padding only, one that goes on in the last rows of its chunk.
ScanProblem of_members(Context& ctx, InnerModel inner,
                       DType dtype = DType::kF64) {
  ScanProblem p = random_problem(ctx, {inner, 2, 4, 3}, 3 * 12 + 11,
                                 {{0, 4, 3, false, 0},
                                  {6, 5, 0, true, 0},
                                  {12, 7, 0, true, 1},
                                  {36, 11, 9, false, 3}},
                                 dtype);
  p.members = 4, p.stride = 12;
  const Shape states{4 * p.shape.state_size()};
  p.state_in = normal(ctx, 20, states, dtype, 0.5);
  p.dstate_out = normal(ctx, 21, states, dtype);
  return p;
}

TEST_P(TttScanMembers, EqualSeparateRuns) {
  TestContext ctx;
  const ScanProblem all = of_members(ctx, GetParam());
  const ScanOutputs out = run_forward(ctx, all);
  const ScanGradients d = run_backward(ctx, all, out);
  const int64_t S = all.shape.state_size();
  std::vector<double> dtok, dln_w, dln_b, dstart;
  for (int64_t m = 0; m < all.members; ++m) {
    const auto rows = [&](const Tensor& t) {
      return t.slice(12 * m, 12 * m + 11);
    };
    const auto state = [&](const Tensor& t) {
      return t.slice(m * S, (m + 1) * S);
    };
    ScanProblem one = all;
    one.members = 1;
    one.segments.clear();
    for (Segment s : all.segments) {
      if (s.member != m) continue;
      s.row -= 12 * m, s.member = 0;
      one.segments.push_back(s);
    }
    for (Tensor* t : {&one.xq, &one.xk, &one.xv, &one.lr, &one.dy}) {
      *t = rows(*t);
    }
    one.state_in = state(all.state_in), one.dstate_out = state(all.dstate_out);
    const ScanOutputs alone = run_forward(ctx, one);
    const ScanGradients alone_d = run_backward(ctx, one, alone);
    EXPECT_TRUE(same_bits(ctx, rows(out.y), alone.y)) << m;
    EXPECT_TRUE(same_bits(ctx, state(out.state_out), alone.state_out)) << m;
    EXPECT_TRUE(same_bits(ctx, rows(d.dxq), alone_d.dxq)) << m;
    EXPECT_TRUE(same_bits(ctx, rows(d.dxk), alone_d.dxk)) << m;
    EXPECT_TRUE(same_bits(ctx, rows(d.dxv), alone_d.dxv)) << m;
    EXPECT_TRUE(same_bits(ctx, rows(d.dlr), alone_d.dlr)) << m;
    EXPECT_TRUE(same_bits(ctx, state(d.dstate_in), alone_d.dstate_in)) << m;
    accumulate(ctx, dtok, alone_d.dtok);
    accumulate(ctx, dln_w, alone_d.dln_w);
    accumulate(ctx, dln_b, alone_d.dln_b);
    accumulate(ctx, dstart, alone_d.dstart);
  }
  EXPECT_TRUE(close_l2(to_f64(ctx, d.dtok), dtok, kSameF64));
  EXPECT_TRUE(close_l2(to_f64(ctx, d.dln_w), dln_w, kSameF64));
  EXPECT_TRUE(close_l2(to_f64(ctx, d.dln_b), dln_b, kSameF64));
  EXPECT_TRUE(close_l2(to_f64(ctx, d.dstart), dstart, kSameF64));
  for (const Tensor& t : {out.y, d.dxq, d.dlr}) {
    EXPECT_EQ(norm(to_f64(ctx, t.slice(24, 36))), 0);  // padding only
  }
}

TEST_P(TttScanMembers, HaveTheSameBitsOnAnyThreads) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const ScanProblem p = of_members(ctx, GetParam(), dtype);
    EXPECT_TRUE(
        same_bits_for_any_threads(ctx, [&] { return run_both(ctx, p); }));
  }
}

INSTANTIATE_TEST_SUITE_P(BothModels, TttScanMembers,
                         ::testing::Values(InnerModel::kLinear,
                                           InnerModel::kMlp),
                         [](const auto& info) {
                           return name_of_model(info.param);
                         });

}  // namespace
}  // namespace timepipe::testing
