#include "kernels/rmsnorm.h"

#include "tests/kernels/kernel_test.h"
#include "tests/kernels/norm_operands.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kEps = 1e-5;

struct Reference {
  std::vector<double> y, rstd;
};

Reference reference(Context& ctx, const NormOperands& o) {
  const auto x = to_f64(ctx, o.x), w = to_f64(ctx, o.w);
  const int64_t N = o.x.dim(0), C = o.x.dim(1);
  Reference out{x, std::vector<double>(N)};
  for (int64_t n = 0; n < N; ++n) {
    double squares = 0;
    for (int64_t c = 0; c < C; ++c) squares += x[n * C + c] * x[n * C + c];
    out.rstd[n] = 1 / std::sqrt(squares / C + kEps);
    for (int64_t c = 0; c < C; ++c) out.y[n * C + c] *= w[c] * out.rstd[n];
  }
  return out;
}

void forward(Context& ctx, NormOperands& o) {
  rmsnorm_forward(ctx, o.x, o.w, kEps, o.y, o.rstd);
}

void backward(Context& ctx, NormOperands& o, Write write_dx = Write::kOverwrite,
              Write write_dw = Write::kOverwrite) {
  rmsnorm_backward(ctx, o.dy, o.x, o.w, o.rstd, o.dx, write_dx, o.dw, write_dw);
}

using Case = std::tuple<DType, Shape>;
class RmsNorm : public ::testing::TestWithParam<Case> {};

TEST_P(RmsNorm, ForwardAgreesWithTheDefinition) {
  const auto& [dtype, shape] = GetParam();
  TestContext ctx;
  NormOperands o(ctx, shape[0], shape[1], dtype, 7);

  forward(ctx, o);

  const Reference expected = reference(ctx, o);
  EXPECT_TRUE(close(ctx, o.y, expected.y, rounding(dtype, 1)));
  EXPECT_TRUE(close(ctx, o.rstd, expected.rstd, rounding(dtype, 1)));
  for (int64_t n = 0; n < shape[0]; ++n) {  // whatever N is
    NormOperands row = o;
    row.x = o.x.slice(n, n + 1);
    row.clear(ctx);
    forward(ctx, row);
    EXPECT_TRUE(same_bits(ctx, row.y, o.y.slice(n, n + 1)));
  }
}

TEST_P(RmsNorm, BackwardAddsWhereAsked) {
  const auto& [dtype, shape] = GetParam();
  const int64_t N = shape[0], C = shape[1];
  TestContext ctx;
  NormOperands o(ctx, N, C, dtype, 9);
  forward(ctx, o);
  const Tensor dx = normal(ctx, 1, {N, C}, dtype);
  const Tensor dw = normal(ctx, 2, {C}, dtype);
  NormOperands dx_summed = o, dw_summed = o;  // the other gradient overwritten
  dx_summed.dx = clone(ctx, dx);
  dw_summed.dw = clone(ctx, dw);

  backward(ctx, dw_summed, Write::kOverwrite, Write::kAdd);
  backward(ctx, dx_summed, Write::kAdd, Write::kOverwrite);

  std::vector<double> dx_expected = to_f64(ctx, dx),
                      dw_expected = to_f64(ctx, dw);
  const std::vector<double> dx_more = to_f64(ctx, o.dx),
                            dw_more = to_f64(ctx, o.dw);
  for (int64_t i = 0; i < N * C; ++i) dx_expected[i] += dx_more[i];
  for (int64_t i = 0; i < C; ++i) dw_expected[i] += dw_more[i];
  EXPECT_TRUE(close(ctx, dx_summed.dx, dx_expected, rounding(dtype, 2)));
  EXPECT_TRUE(close(ctx, dw_summed.dw, dw_expected, rounding(dtype, 2)));
}

INSTANTIATE_TEST_SUITE_P(Shapes, RmsNorm,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Shape{1, 1}, Shape{3, 7}, Shape{5, 64},
                                        Shape{2, 100}, Shape{2, 1030},
                                        Shape{0, 17})));

TEST(RmsNormBackward, AgreesWithFiniteDifferences) {
  for (const auto& [N, C] : {std::pair{1, 1}, {3, 7}, {2, 17}, {2, 1030}}) {
    TestContext ctx;
    NormOperands o(ctx, N, C, DType::kF64, 10);
    const auto objective = [&] {
      forward(ctx, o);
      return inner_product(ctx, o.y, o.dy);
    };
    objective();
    backward(ctx, o);
    EXPECT_TRUE(gradients_agree(
        ctx, objective, {{"x", o.x, o.dx}, {"w", o.w, o.dw}}, {.sample = 34}));
  }
}

TEST(RmsNormBackward, OfBothTypesAgree) {
  for (const int64_t C : {7, 1030}) {
    TestContext ctx;
    NormOperands o(ctx, 70, C, DType::kF32, 12), exact = o.in_f64(ctx);
    for (NormOperands* each : {&o, &exact}) {
      forward(ctx, *each);
      backward(ctx, *each);
    }
    EXPECT_TRUE(close(ctx, o.dx, exact.dx, rounding(DType::kF32, 4)));
    EXPECT_TRUE(close(ctx, o.dw, exact.dw, rounding(DType::kF32, 70)));
  }
}

TEST(RmsNormThreads, DoNotChangeBits) {
  TestContext ctx;
  NormOperands o(ctx, 17, 130, DType::kF32, 11);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    o.clear(ctx);
    forward(ctx, o);
    backward(ctx, o);
    return std::vector<Tensor>{o.y, o.rstd, o.dx, o.dw};
  }));
}

TEST(RmsNormArguments, AreChecked) {
  TestContext ctx;
  const Tensor x = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor w = filled(ctx, 1, {3}, DType::kF32);
  Tensor y = nans(ctx, {2, 3}, DType::kF32), rstd = nans(ctx, {2}, y.dtype());
  Tensor dx = nans(ctx, {2, 4}, DType::kF32), dw = nans(ctx, {3}, y.dtype());
  EXPECT_THAT([&] { rmsnorm_forward(ctx, x, rstd, kEps, y, rstd); },
              refuses("w: shape [2], expected [3]"));
  Tensor wide = nans(ctx, {2}, DType::kF64);
  EXPECT_THAT([&] { rmsnorm_forward(ctx, x, w, kEps, y, wide); },
              refuses("rstd: dtype f64, expected f32"));
  EXPECT_THAT(
      [&] {
        rmsnorm_backward(ctx, y, x, w, rstd, dx, Write::kAdd, dw, Write::kAdd);
      },
      refuses("dx: shape [2,4], expected [2,3]"));
}

}  // namespace
}  // namespace timepipe
