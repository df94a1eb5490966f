#include "kernels/layernorm.h"

#include <gmock/gmock.h>

#include <tuple>

#include "tests/support/gradcheck.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;
using ::testing::Combine;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;
using ::testing::Values;

constexpr double kEps = 1e-6;

std::vector<double> reference(const std::vector<double>& x,
                              const std::vector<double>& w,
                              const std::vector<double>& b, int64_t N,
                              int64_t C) {
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

using Case = std::tuple<DType, Shape>;
class LayerNorm : public ::testing::TestWithParam<Case> {};

TEST_P(LayerNorm, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, shape] = GetParam();
  const int64_t N = shape[0], C = shape[1];
  Context ctx;
  Generator rng(7);
  const Tensor x = normal(ctx, rng, {N, C}, dtype);
  const Tensor w = normal(ctx, rng, {C}, dtype);
  const Tensor b = normal(ctx, rng, {C}, dtype);
  Tensor y = nans(ctx, {N, C}, dtype);
  Tensor mean = nans(ctx, {N}, dtype), rstd = nans(ctx, {N}, dtype);

  layernorm_forward(ctx, x, w, b, kEps, y, mean, rstd);

  EXPECT_TRUE(close(y, reference(to_f64(x), to_f64(w), to_f64(b), N, C),
                    rounding(dtype, 4)));
  Tensor row = nans(ctx, {1, C}, dtype);
  for (int64_t n = 0; n < N; ++n) {  // whatever N is
    Tensor m = nans(ctx, {1}, dtype), r = nans(ctx, {1}, dtype);
    layernorm_forward(ctx, x.slice(n, n + 1), w, b, kEps, row, m, r);
    EXPECT_TRUE(same_bits(row, y.slice(n, n + 1)));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, LayerNorm,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Shape{3, 7}, Shape{1, 17}, Shape{5, 64},
                                        Shape{2, 100}, Shape{0, 17})));

TEST(LayerNormForward, SurvivesAMeanFarFromZero) {
  Context ctx;
  const int64_t C = 96;
  const Tensor x = generate(ctx, {1, C}, DType::kF32,
                            [](int64_t c) { return 1e4 + (c % 2 ? 1 : -1); });
  const Tensor w = filled(ctx, 1, {C}, DType::kF32);
  const Tensor b = filled(ctx, 0, {C}, DType::kF32);
  Tensor y = nans(ctx, {1, C}, DType::kF32);
  Tensor mean = nans(ctx, {1}, DType::kF32), rstd = nans(ctx, {1}, y.dtype());
  layernorm_forward(ctx, x, w, b, kEps, y, mean, rstd);
  EXPECT_TRUE(close(y, reference(to_f64(x), to_f64(w), to_f64(b), 1, C),
                    rounding(DType::kF32, 1)));
}

TEST(LayerNormBackward, AgreesWithFiniteDifferences) {
  for (const auto& [N, C] : {std::pair{1, 7}, {3, 17}}) {
    Context ctx;
    Generator rng(10);
    const DType f64 = DType::kF64;
    const Tensor x = normal(ctx, rng, {N, C}, f64);
    const Tensor w = normal(ctx, rng, {C}, f64), b = normal(ctx, rng, {C}, f64);
    const Tensor dy = normal(ctx, rng, {N, C}, f64);
    Tensor y = nans(ctx, {N, C}, f64), dx = nans(ctx, {N, C}, f64);
    Tensor mean = nans(ctx, {N}, f64), rstd = nans(ctx, {N}, f64);
    Tensor dw = nans(ctx, {C}, f64), db = nans(ctx, {C}, f64);
    const auto objective = [&] {
      layernorm_forward(ctx, x, w, b, kEps, y, mean, rstd);
      return inner_product(y, dy);
    };
    objective();
    layernorm_backward(ctx, dy, x, w, mean, rstd, dx, dw, db);
    EXPECT_TRUE(
        gradients_agree(objective, {{"x", x, dx}, {"w", w, dw}, {"b", b, db}}));
  }
}

TEST(LayerNormThreads, DoNotChangeBits) {
  Context ctx;
  Generator rng(11);
  const DType f32 = DType::kF32;
  const Tensor x = normal(ctx, rng, {17, 130}, f32);
  const Tensor w = normal(ctx, rng, {130}, f32),
               b = normal(ctx, rng, {130}, f32);
  const Tensor dy = normal(ctx, rng, {17, 130}, f32);
  EXPECT_TRUE(same_bits_for_any_threads([&] {
    Tensor y = nans(ctx, {17, 130}, f32), dx = nans(ctx, {17, 130}, f32);
    Tensor mean = nans(ctx, {17}, f32), rstd = nans(ctx, {17}, f32);
    Tensor dw = nans(ctx, {130}, f32), db = nans(ctx, {130}, f32);
    layernorm_forward(ctx, x, w, b, kEps, y, mean, rstd);
    layernorm_backward(ctx, dy, x, w, mean, rstd, dx, dw, db);
    return std::vector<Tensor>{y, mean, rstd, dx, dw, db};
  }));
}

TEST(LayerNormArguments, AreChecked) {
  Context ctx;
  const Tensor x = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor w = filled(ctx, 1, {3}, DType::kF32);
  const Tensor b64 = filled(ctx, 1, {3}, DType::kF64);
  Tensor y = nans(ctx, {2, 3}, DType::kF32), mean = nans(ctx, {2}, y.dtype());
  Tensor rstd = nans(ctx, {2}, DType::kF32), dw = nans(ctx, {3}, y.dtype());
  EXPECT_THAT([&] { layernorm_forward(ctx, x, w, b64, kEps, y, mean, rstd); },
              ThrowsMessage<InvalidArgument>(HasSubstr("b: dtype f64")));
  EXPECT_THAT([&] { layernorm_forward(ctx, x, w, w, kEps, y, dw, rstd); },
              ThrowsMessage<InvalidArgument>(
                  HasSubstr("mean: shape [3], expected [2]")));
  EXPECT_THAT(
      [&] { layernorm_backward(ctx, y, x, w, mean, rstd, y, dw, mean); },
      ThrowsMessage<InvalidArgument>(HasSubstr("db: shape [2], expected [3]")));
}

}  // namespace
}  // namespace timepipe
