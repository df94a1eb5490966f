#include "kernels/inner_rate.h"

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kScale = 1. / 7;

struct Sizes {
  int64_t rows, C, H;
};

struct Operands {
  Operands(Context& ctx, const Sizes& s, DType dtype, uint64_t seed) {
    Generator rng(seed);
    u = normal(ctx, rng, {s.rows, s.C}, dtype);
    w = normal(ctx, rng, {s.H, 1, s.C}, dtype, 0.3);
    bias = normal(ctx, rng, {s.H, 1}, dtype);
    dlr = normal(ctx, rng, {s.rows, s.H}, dtype);
    gate = nans(ctx, {s.rows, s.H}, dtype);
    lr = nans(ctx, {s.rows, s.H}, dtype);
    du = filled(ctx, 0, {s.rows, s.C}, dtype);
    dw = nans(ctx, {s.H, 1, s.C}, dtype);
    dbias = nans(ctx, {s.H, 1}, dtype);
  }
  void forward(Context& ctx) {
    inner_rate_forward(ctx, u, w, bias, kScale, gate, lr);
  }
  void backward(Context& ctx) {
    inner_rate_backward(ctx, dlr, u, w, gate, kScale, du, dw, dbias);
  }
  Tensor u, w, bias, dlr, gate, lr, du, dw, dbias;
};

std::vector<double> reference(Context& ctx, const Operands& o, const Sizes& s) {
  const auto u = to_f64(ctx, o.u), w = to_f64(ctx, o.w),
             bias = to_f64(ctx, o.bias);
  std::vector<double> gate(static_cast<std::size_t>(s.rows * s.H));
  for (int64_t t = 0; t < s.rows; ++t) {
    for (int64_t h = 0; h < s.H; ++h) {
      double z = bias[h];
      for (int64_t c = 0; c < s.C; ++c) z += u[t * s.C + c] * w[h * s.C + c];
      gate[t * s.H + h] = 1 / (1 + std::exp(-z));
    }
  }
  return gate;
}

using Case = std::tuple<DType, Sizes>;
class InnerRate : public ::testing::TestWithParam<Case> {};

TEST_P(InnerRate, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Operands o(ctx, s, dtype, 1);
  o.forward(ctx);
  std::vector<double> expected = reference(ctx, o, s);
  EXPECT_TRUE(close(ctx, o.gate, expected, rounding(dtype, 1)));
  for (double& v : expected) v *= kScale;
  EXPECT_TRUE(close(ctx, o.lr, expected, rounding(dtype, 1)));
}

TEST_P(InnerRate, BackwardAddsToDuAndOverwritesTheRest) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Operands o(ctx, s, dtype, 2);
  o.forward(ctx);
  o.backward(ctx);
  std::vector<double> expected = to_f64(ctx, o.du);
  const Tensor dw = clone(ctx, o.dw), dbias = clone(ctx, o.dbias);
  for (double& v : expected) v *= 2;

  o.backward(ctx);

  EXPECT_TRUE(close(ctx, o.du, expected, rounding(dtype, s.H)));
  EXPECT_TRUE(same_bits(ctx, o.dw, dw));
  EXPECT_TRUE(same_bits(ctx, o.dbias, dbias));
}

INSTANTIATE_TEST_SUITE_P(Sizes, InnerRate,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Sizes{1, 1, 1}, Sizes{7, 17, 3},
                                        Sizes{17, 64, 2}, Sizes{3, 100, 7},
                                        Sizes{0, 5, 2})));

TEST(InnerRateBackward, AgreesWithFiniteDifferences) {
  for (const Sizes& s : {Sizes{1, 1, 1}, Sizes{7, 5, 3}, Sizes{3, 40, 2}}) {
    TestContext ctx;
    Operands o(ctx, s, DType::kF64, 3);
    const auto objective = [&] {
      o.forward(ctx);
      return inner_product(ctx, o.lr, o.dlr);
    };
    objective();
    o.backward(ctx);
    EXPECT_TRUE(gradients_agree(
        ctx, objective,
        {{"u", o.u, o.du}, {"w", o.w, o.dw}, {"bias", o.bias, o.dbias}}));
  }
}

TEST(InnerRateBackward, SumsOverTimeSurviveCancellation) {
  TestContext ctx;
  const Sizes s{1100, 3, 1};
  Operands o(ctx, s, DType::kF32, 4);
  o.u = filled(ctx, 1, {s.rows, s.C}, DType::kF32);
  o.dlr = generate(ctx, {s.rows, 1}, DType::kF32, [&](int64_t t) {
    return t == s.rows - 1 ? 1e-3 : (t % 2 == 0 ? 1e4 : -1e4);
  });
  o.forward(ctx);
  o.backward(ctx);
  // Pairs cancel but for the one whose second is the last row.
  const double g = to_f64(ctx, o.gate)[0];
  const double expected = (1e4 + 1e-3F) * kScale * g * (1 - g);
  EXPECT_NEAR(to_f64(ctx, o.dbias)[0] / expected, 1, rounding(DType::kF32, 1));
  EXPECT_NEAR(to_f64(ctx, o.dw)[0] / expected, 1, rounding(DType::kF32, 1));
}

TEST(InnerRateThreads, DoNotChangeBits) {
  TestContext ctx;
  const Operands start(ctx, Sizes{37, 130, 5}, DType::kF32, 5);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Operands o = start;
    for (Tensor* t : {&o.gate, &o.lr, &o.du, &o.dw, &o.dbias}) {
      *t = clone(ctx, *t);
    }
    o.forward(ctx);
    o.backward(ctx);
    return std::vector<Tensor>{o.gate, o.lr, o.du, o.dw, o.dbias};
  }));
}

TEST(TokenScale, IsClampedAtZeroAndPassesTheGradientThere) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor learnable = from_f64(ctx, {0, -0.5, -0.5, 2}, {4}, dtype);
    const Tensor dtok = from_f64(ctx, {1, 2, 3, 4}, {4}, dtype);
    Tensor tok = nans(ctx, {4}, dtype), dlearnable = nans(ctx, {4}, dtype);
    token_scale_forward(ctx, learnable, tok);
    EXPECT_TRUE(close(ctx, tok, {1, 0, 0, 2.25}, rounding(dtype, 1)));
    token_scale_backward(ctx, dtok, learnable, dlearnable);
    EXPECT_TRUE(close(ctx, dlearnable, {1, 2, 0, 4}, 0));
  }
}

TEST(TokenScale, BackwardAgreesWithFiniteDifferences) {
  TestContext ctx;
  const Tensor learnable = normal(ctx, 6, {17}, DType::kF64);
  const Tensor dtok = normal(ctx, 7, {17}, DType::kF64);
  Tensor tok = nans(ctx, {17}, DType::kF64), gradient = clone(ctx, tok);
  token_scale_backward(ctx, dtok, learnable, gradient);
  const auto objective = [&] {
    token_scale_forward(ctx, learnable, tok);
    return inner_product(ctx, tok, dtok);
  };
  EXPECT_TRUE(
      gradients_agree(ctx, objective, {{"learnable", learnable, gradient}}));
}

TEST(InnerRateArguments, AreChecked) {
  TestContext ctx;
  Operands o(ctx, Sizes{4, 5, 2}, DType::kF32, 8);
  o.bias = filled(ctx, 0, {2}, DType::kF32);
  EXPECT_THAT([&] { o.forward(ctx); },
              refuses("bias: shape [2], expected [2,1]"));
  o.w = filled(ctx, 0, {2, 5}, DType::kF32);
  EXPECT_THAT([&] { o.forward(ctx); }, refuses("w: shape [2,5]"));
  o = Operands(ctx, Sizes{4, 5, 2}, DType::kF32, 8);
  o.dlr = filled(ctx, 0, {4, 2}, DType::kF64);
  EXPECT_THAT([&] { o.backward(ctx); }, refuses("dlr: dtype f64"));
  const Tensor learnable = filled(ctx, 0, {4}, DType::kF32);
  Tensor tok = filled(ctx, 0, {3}, DType::kF32);
  EXPECT_THAT([&] { token_scale_forward(ctx, learnable, tok); },
              refuses("tok: shape [3]"));
  EXPECT_THAT([&] { token_scale_backward(ctx, tok, learnable, tok); },
              refuses("dtok: shape [3]"));
}

}  // namespace
}  // namespace timepipe
