#include "kernels/layernorm.h"

#include "tests/kernels/kernel_test.h"
#include "tests/kernels/norm_operands.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kEps = 1e-6;

std::vector<double> reference(Context& ctx, const NormOperands& o) {
  const auto x = to_f64(ctx, o.x), w = to_f64(ctx, o.w), b = to_f64(ctx, o.b);
  const int64_t N = o.x.dim(0), C = o.x.dim(1);
  std::vector<double> y(x.size());
  for (int64_t n = 0; n < N; ++n) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < C; ++c) mean += x[n * C + c] / C;
    for (int64_t c = 0; c < C; ++c) {
      variance += std::pow(x[n * C + c] - mean, 2) / C;
    }
    for (int64_t c = 0; c < C; ++c) {
      y[n * C + c] =
          w[c] * (x[n * C + c] - mean) / std::sqrt(variance + kEps) + b[c];
    }
  }
  return y;
}

void forward(Context& ctx, NormOperands& o) {
  layernorm_forward(ctx, o.x, o.w, o.b, kEps, o.y, o.mean, o.rstd);
}

void backward(Context& ctx, NormOperands& o) {
  layernorm_backward(ctx, o.dy, o.x, o.w, o.mean, o.rstd, o.dx, o.dw, o.db);
}

using Case = std::tuple<DType, Shape>;
class LayerNorm : public ::testing::TestWithParam<Case> {};

TEST_P(LayerNorm, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, shape] = GetParam();
  TestContext ctx;
  NormOperands o(ctx, shape[0], shape[1], dtype, 7);

  forward(ctx, o);

  EXPECT_TRUE(close(ctx, o.y, reference(ctx, o), rounding(dtype, 4)));
  for (int64_t n = 0; n < shape[0]; ++n) {  // whatever N is
    NormOperands row = o;
    row.x = o.x.slice(n, n + 1);
    row.clear(ctx);
    forward(ctx, row);
    EXPECT_TRUE(same_bits(ctx, row.y, o.y.slice(n, n + 1)));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LayerNorm,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Shape{3, 7}, Shape{1, 17}, Shape{5, 64},
                                        Shape{2, 100}, Shape{2, 1030},
                                        Shape{0, 17})));

TEST(LayerNormForward, SurvivesAMeanFarFromZero) {
  TestContext ctx;
  const int64_t C = 96;
  NormOperands o(ctx, 1, C, DType::kF32, 8);
  o.x = generate(ctx, {1, C}, DType::kF32,
                 [](int64_t c) { return 1e4 + (c % 2 ? 1 : -1); });
  o.w = filled(ctx, 1, {C}, DType::kF32);
  o.b = filled(ctx, 0, {C}, DType::kF32);
  forward(ctx, o);
  EXPECT_TRUE(close(ctx, o.y, reference(ctx, o), rounding(DType::kF32, 1)));
}

TEST(LayerNormBackward, AgreesWithFiniteDifferences) {
  for (const auto& [N, C] : {std::pair{1, 7}, {3, 17}, {2, 1030}}) {
    TestContext ctx;
    NormOperands o(ctx, N, C, DType::kF64, 10);
    const auto objective = [&] {
      forward(ctx, o);
      return inner_product(ctx, o.y, o.dy);
    };
    objective();
    backward(ctx, o);
    EXPECT_TRUE(gradients_agree(
        ctx, objective, {{"x", o.x, o.dx}, {"w", o.w, o.dw}, {"b", o.b, o.db}},
        {.sample = 51}));
  }
}

TEST(LayerNormBackward, OfBothTypesAgree) {
  for (const int64_t C : {7, 1030}) {
    TestContext ctx;
    NormOperands o(ctx, 70, C, DType::kF32, 12), exact = o.in_f64(ctx);
    for (NormOperands* each : {&o, &exact}) {
      forward(ctx, *each);
      backward(ctx, *each);
    }
    EXPECT_TRUE(close(ctx, o.dx, exact.dx, rounding(DType::kF32, 6)));
    EXPECT_TRUE(close(ctx, o.dw, exact.dw, rounding(DType::kF32, 70)));
    EXPECT_TRUE(close(ctx, o.db, exact.db, rounding(DType::kF32, 70)));
  }
}

TEST(LayerNormThreads, DoNotChangeBits) {
  TestContext ctx;
  NormOperands o(ctx, 17, 130, DType::kF32, 11);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    o.clear(ctx);
    forward(ctx, o);
    backward(ctx, o);
    return std::vector<Tensor>{o.y, o.mean, o.rstd, o.dx, o.dw, o.db};
  }));
}

TEST(LayerNormArguments, AreChecked) {
  TestContext ctx;
  const Tensor x = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor w = filled(ctx, 1, {3}, DType::kF32);
  const Tensor b64 = filled(ctx, 1, {3}, DType::kF64);
  Tensor y = nans(ctx, {2, 3}, DType::kF32), mean = nans(ctx, {2}, y.dtype());
  Tensor rstd = nans(ctx, {2}, DType::kF32), dw = nans(ctx, {3}, y.dtype());
  EXPECT_THAT([&] { layernorm_forward(ctx, x, w, b64, kEps, y, mean, rstd); },
              refuses("b: dtype f64"));
  EXPECT_THAT([&] { layernorm_forward(ctx, x, w, w, kEps, y, dw, rstd); },
              refuses("mean: shape [3], expected [2]"));
  EXPECT_THAT(
      [&] { layernorm_backward(ctx, y, x, w, mean, rstd, y, dw, mean); },
      refuses("db: shape [2], expected [3]"));
}

}  // namespace
}  // namespace timepipe
