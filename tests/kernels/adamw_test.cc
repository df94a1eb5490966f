#include "kernels/adamw.h"

#include "kernels/step_verdict.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr AdamW kHyper{.lr = 1e-2,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .step = 0};

// That of a step whose gradient is multiplied by `factor`.
Tensor verdict_of(Context& ctx, double factor, bool finite = true) {
  return from_f64(ctx, {1, 1, factor, finite ? 1. : 0.}, {kVerdictSize},
                  DType::kF64);
}

class AdamWStep : public ::testing::TestWithParam<std::tuple<DType, int64_t>> {
};

TEST_P(AdamWStep, AgreesWithTheDefinitionOverSteps) {
  const auto& [dtype, n] = GetParam();
  TestContext ctx;
  Generator rng(1);
  Tensor p = normal(ctx, rng, {n}, dtype);
  Tensor m = filled(ctx, 0, {n}, dtype), v = filled(ctx, 0, {n}, dtype);
  std::vector<double> pe = to_f64(ctx, p), me = to_f64(ctx, m),
                      ve = to_f64(ctx, v);
  const Tensor verdict = verdict_of(ctx, 0.75);
  AdamW hyper = kHyper;
  for (hyper.step = 0; hyper.step < 3; ++hyper.step) {
    const Tensor g = normal(ctx, rng, {n}, dtype);
    const double age = static_cast<double>(hyper.step + 1);
    std::vector<double> ge = to_f64(ctx, g);
    for (int64_t i = 0; i < n; ++i) {
      ge[i] *= 0.75;
      me[i] = 0.9 * me[i] + 0.1 * ge[i];
      ve[i] = 0.95 * ve[i] + 0.05 * ge[i] * ge[i];
      const double mh = me[i] / (1 - std::pow(0.9, age));
      const double vh = ve[i] / (1 - std::pow(0.95, age));
      pe[i] -= 1e-2 * (mh / (std::sqrt(vh) + 1e-8) + 0.1 * pe[i]);
    }
    adamw(ctx, hyper, verdict, g, m, v, p);
    EXPECT_TRUE(close(ctx, p, pe, rounding(dtype, 1)));
    EXPECT_TRUE(close(ctx, m, me, rounding(dtype, 1)));
    EXPECT_TRUE(close(ctx, v, ve, rounding(dtype, 1)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, AdamWStep,
    ::testing::Combine(::testing::Values(DType::kF32, DType::kF64),
                       ::testing::Values<int64_t>(0, 1, 7, 64, 1000)));

TEST(AdamWDecay, ZeroGradientOnlyDecays) {
  TestContext ctx;
  Tensor p = filled(ctx, 2, {3}, DType::kF64);
  Tensor m = filled(ctx, 0, {3}, p.dtype()), v = filled(ctx, 0, {3}, p.dtype());
  adamw(ctx, kHyper, verdict_of(ctx, 1), filled(ctx, 0, {3}, p.dtype()), m, v,
        p);
  const double expected = 2 - 1e-2 * 0.1 * 2;
  EXPECT_TRUE(
      close(ctx, p, {expected, expected, expected}, rounding(DType::kF64, 1)));
}

TEST(AdamWVerdict, ThatTheStepIsNotFiniteWritesNothing) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor g = nans(ctx, {7}, dtype);
    Tensor p = normal(ctx, 6, {7}, dtype), m = normal(ctx, 7, {7}, dtype);
    Tensor v = filled(ctx, 1, {7}, dtype);
    const std::vector<Tensor> before = {clone(ctx, p), clone(ctx, m),
                                        clone(ctx, v)};
    adamw(ctx, kHyper, verdict_of(ctx, 1, /*finite=*/false), g, m, v, p);
    EXPECT_TRUE(same_bits(ctx, p, before[0]));
    EXPECT_TRUE(same_bits(ctx, m, before[1]));
    EXPECT_TRUE(same_bits(ctx, v, before[2]));
  }
}

TEST(AdamWThreads, DoNotChangeBits) {
  TestContext ctx;
  const Shape shape = {40000};
  const Tensor verdict = verdict_of(ctx, 1);
  const Tensor g = normal(ctx, 2, shape, DType::kF32);
  const Tensor start = normal(ctx, 3, shape, DType::kF32);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor p = clone(ctx, start), m = filled(ctx, 0, shape, DType::kF32);
    Tensor v = filled(ctx, 0, shape, DType::kF32);
    adamw(ctx, kHyper, verdict, g, m, v, p);
    return std::vector<Tensor>{p, m, v};
  }));
}

TEST(AdamWShards, GiveTheSameBits) {
  TestContext ctx;
  const Tensor verdict = verdict_of(ctx, 1);
  const Tensor g = normal(ctx, 4, {1001}, DType::kF32);
  const Tensor start = normal(ctx, 5, {1001}, DType::kF32);
  std::vector<Tensor> results;
  for (const int64_t cut : {0, 13, 500}) {
    Tensor p = clone(ctx, start), m = filled(ctx, 0, {1001}, DType::kF32);
    Tensor v = filled(ctx, 0, {1001}, DType::kF32);
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, cut},
                                     std::pair<int64_t, int64_t>{cut, 1001}}) {
      Tensor pp = p.slice(begin, end), mm = m.slice(begin, end);
      Tensor vv = v.slice(begin, end);
      adamw(ctx, kHyper, verdict, g.slice(begin, end), mm, vv, pp);
    }
    results.push_back(p);
  }
  EXPECT_TRUE(same_bits(ctx, results[0], results[1]));
  EXPECT_TRUE(same_bits(ctx, results[0], results[2]));
}

TEST(AdamWArguments, AreChecked) {
  TestContext ctx;
  const Tensor verdict = verdict_of(ctx, 1);
  const Tensor g = filled(ctx, 0, {3}, DType::kF32);
  Tensor ok = filled(ctx, 0, {3}, DType::kF32);
  Tensor wide = filled(ctx, 0, {3}, DType::kF64);
  Tensor longer = filled(ctx, 0, {4}, DType::kF32);
  EXPECT_THAT([&] { adamw(ctx, kHyper, verdict, g, ok, wide, ok); },
              refuses("v: dtype f64"));
  EXPECT_THAT([&] { adamw(ctx, kHyper, verdict, g, longer, ok, ok); },
              refuses("m: shape [4], expected [3]"));
  EXPECT_THAT([&] { adamw(ctx, kHyper, g, g, ok, ok, ok); },
              refuses("verdict: dtype f32"));
  EXPECT_THAT([&] { adamw(ctx, kHyper, wide, g, ok, ok, ok); },
              refuses("verdict: shape [3], expected [4]"));
  AdamW hyper = kHyper;
  hyper.beta2 = 1;
  EXPECT_THAT([&] { adamw(ctx, hyper, verdict, g, ok, ok, ok); },
              refuses("beta2: 1"));
  hyper = kHyper;
  hyper.step = -1;
  EXPECT_THAT([&] { adamw(ctx, hyper, verdict, g, ok, ok, ok); },
              refuses("step: -1"));
}

}  // namespace
}  // namespace timepipe
