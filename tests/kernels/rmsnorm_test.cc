#include "kernels/rmsnorm.h"

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

constexpr double kEps = 1e-5;

struct Reference {
  std::vector<double> y, rstd;
};

Reference reference(const std::vector<double>& x, const std::vector<double>& w,
                    int64_t N, int64_t C) {
  Reference out{x, std::vector<double>(N)};
  for (int64_t n = 0; n < N; ++n) {
    double squares = 0;
    for (int64_t c = 0; c < C; ++c) squares += x[n * C + c] * x[n * C + c];
    out.rstd[n] = 1 / std::sqrt(squares / C + kEps);
    for (int64_t c = 0; c < C; ++c) out.y[n * C + c] *= w[c] * out.rstd[n];
  }
  return out;
}

using Case = std::tuple<DType, Shape>;
class RmsNorm : public ::testing::TestWithParam<Case> {};

TEST_P(RmsNorm, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, shape] = GetParam();
  const int64_t N = shape[0], C = shape[1];
  Context ctx;
  Generator rng(7);
  const Tensor x = normal(ctx, rng, {N, C}, dtype);
  const Tensor w = normal(ctx, rng, {C}, dtype);
  Tensor y = nans(ctx, {N, C}, dtype), rstd = nans(ctx, {N}, dtype);

  rmsnorm_forward(ctx, x, w, kEps, y, rstd);

  const Reference expected = reference(to_f64(x), to_f64(w), N, C);
  EXPECT_TRUE(close(y, expected.y, rounding(dtype, 1)));
  EXPECT_TRUE(close(rstd, expected.rstd, rounding(dtype, 1)));
}

TEST_P(RmsNorm, ARowDoesNotDependOnTheOthers) {
  const auto& [dtype, shape] = GetParam();
  const int64_t N = shape[0], C = shape[1];
  Context ctx;
  Generator rng(8);
  const Tensor x = normal(ctx, rng, {N, C}, dtype);
  const Tensor w = normal(ctx, rng, {C}, dtype);
  Tensor y = nans(ctx, {N, C}, dtype), rstd = nans(ctx, {N}, dtype);
  rmsnorm_forward(ctx, x, w, kEps, y, rstd);
  for (int64_t n = 0; n < N; ++n) {
    Tensor row = nans(ctx, {1, C}, dtype), r = nans(ctx, {1}, dtype);
    rmsnorm_forward(ctx, x.slice(n, n + 1), w, kEps, row, r);
    EXPECT_TRUE(same_bits(row, y.slice(n, n + 1)));
  }
}

TEST_P(RmsNorm, BackwardAddsWhereAsked) {
  const auto& [dtype, shape] = GetParam();
  const int64_t N = shape[0], C = shape[1];
  Context ctx;
  Generator rng(9);
  const Tensor x = normal(ctx, rng, {N, C}, dtype);
  const Tensor dy = normal(ctx, rng, {N, C}, dtype);
  const Tensor w = normal(ctx, rng, {C}, dtype);
  Tensor y = nans(ctx, {N, C}, dtype), rstd = nans(ctx, {N}, dtype);
  Tensor dx = nans(ctx, {N, C}, dtype), dw = nans(ctx, {C}, dtype);
  Tensor dx_sum = normal(ctx, rng, {N, C}, dtype);
  Tensor dw_sum = normal(ctx, rng, {C}, dtype);
  std::vector<double> dx_expected = to_f64(dx_sum),
                      dw_expected = to_f64(dw_sum);
  rmsnorm_forward(ctx, x, w, kEps, y, rstd);

  rmsnorm_backward(ctx, dy, x, w, rstd, dx, Write::kOverwrite, dw_sum,
                   Write::kAdd);
  rmsnorm_backward(ctx, dy, x, w, rstd, dx_sum, Write::kAdd, dw,
                   Write::kOverwrite);

  for (int64_t i = 0; i < N * C; ++i) dx_expected[i] += to_f64(dx)[i];
  for (int64_t i = 0; i < C; ++i) dw_expected[i] += to_f64(dw)[i];
  EXPECT_TRUE(close(dx_sum, dx_expected, rounding(dtype, 2)));
  EXPECT_TRUE(close(dw_sum, dw_expected, rounding(dtype, 2)));
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNorm,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Shape{1, 1}, Shape{3, 7}, Shape{5, 64},
                                        Shape{2, 100}, Shape{0, 17})));

TEST(RmsNormBackward, AgreesWithFiniteDifferences) {
  for (const auto& [N, C] : {std::pair{1, 1}, {3, 7}, {2, 17}}) {
    Context ctx;
    Generator rng(10);
    const Tensor x = normal(ctx, rng, {N, C}, DType::kF64);
    const Tensor w = normal(ctx, rng, {C}, DType::kF64);
    const Tensor dy = normal(ctx, rng, {N, C}, DType::kF64);
    Tensor y = nans(ctx, {N, C}, DType::kF64), rstd = nans(ctx, {N}, y.dtype());
    Tensor dx = nans(ctx, {N, C}, DType::kF64), dw = nans(ctx, {C}, y.dtype());
    const auto objective = [&] {
      rmsnorm_forward(ctx, x, w, kEps, y, rstd);
      return inner_product(y, dy);
    };
    objective();
    rmsnorm_backward(ctx, dy, x, w, rstd, dx, Write::kOverwrite, dw,
                     Write::kOverwrite);
    EXPECT_TRUE(gradients_agree(objective, {{"x", x, dx}, {"w", w, dw}}));
  }
}

TEST(RmsNormThreads, DoNotChangeBits) {
  Context ctx;
  Generator rng(11);
  const Shape shape = {17, 130};
  const Tensor x = normal(ctx, rng, shape, DType::kF32);
  const Tensor w = normal(ctx, rng, {130}, DType::kF32);
  const Tensor dy = normal(ctx, rng, shape, DType::kF32);
  EXPECT_TRUE(same_bits_for_any_threads([&] {
    Tensor y = nans(ctx, shape, DType::kF32), dx = nans(ctx, shape, y.dtype());
    Tensor rstd = nans(ctx, {17}, y.dtype()), dw = nans(ctx, {130}, y.dtype());
    rmsnorm_forward(ctx, x, w, kEps, y, rstd);
    rmsnorm_backward(ctx, dy, x, w, rstd, dx, Write::kOverwrite, dw,
                     Write::kOverwrite);
    return std::vector<Tensor>{y, rstd, dx, dw};
  }));
}

TEST(RmsNormArguments, AreChecked) {
  Context ctx;
  const Tensor x = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor w = filled(ctx, 1, {3}, DType::kF32);
  Tensor y = nans(ctx, {2, 3}, DType::kF32), rstd = nans(ctx, {2}, y.dtype());
  Tensor dx = nans(ctx, {2, 4}, DType::kF32), dw = nans(ctx, {3}, y.dtype());
  EXPECT_THAT(
      [&] { rmsnorm_forward(ctx, x, rstd, kEps, y, rstd); },
      ThrowsMessage<InvalidArgument>(HasSubstr("w: shape [2], expected [3]")));
  Tensor wide = nans(ctx, {2}, DType::kF64);
  EXPECT_THAT([&] { rmsnorm_forward(ctx, x, w, kEps, y, wide); },
              ThrowsMessage<InvalidArgument>(
                  HasSubstr("rstd: dtype f64, expected f32")));
  EXPECT_THAT(
      [&] {
        rmsnorm_backward(ctx, y, x, w, rstd, dx, Write::kAdd, dw, Write::kAdd);
      },
      ThrowsMessage<InvalidArgument>(
          HasSubstr("dx: shape [2,4], expected [2,3]")));
}

}  // namespace
}  // namespace timepipe
