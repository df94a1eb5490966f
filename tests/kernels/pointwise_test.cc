#include "kernels/pointwise.h"

#include <limits>
#include <numbers>

#include "kernels/cpu/elementary.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

using Case = std::tuple<DType, Shape>;
class Pointwise : public ::testing::TestWithParam<Case> {};

// A backward as a function of dy, its two inputs and their two gradients.
using Backward = void (*)(Context&, const Tensor&, const Tensor&, const Tensor&,
                          Tensor&, Tensor&);
using Forward = void (*)(Context&, const Tensor&, const Tensor&, Tensor&);

double silu_product(double a, double b) { return a / (1 + std::exp(-a)) * b; }

double gelu_product(double x, double g) {
  const double u = std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g);
  return x * 0.5 * g * (1 + std::tanh(u));
}

TEST_P(Pointwise, ForwardsAgreeWithTheDefinitions) {
  const auto& [dtype, shape] = GetParam();
  TestContext ctx;
  Generator rng(1);
  const Tensor a = normal(ctx, rng, shape, dtype, 3);
  const Tensor b = normal(ctx, rng, shape, dtype, 3);
  Tensor sum = clone(ctx, b);
  Tensor swiglu = nans(ctx, shape, dtype), gate = nans(ctx, shape, dtype);
  Tensor rounded = nans(ctx, shape, dtype);

  add(ctx, a, sum);
  round(ctx, a, rounded);
  swiglu_forward(ctx, a, b, swiglu);
  gelu_gate_forward(ctx, a, b, gate);

  const std::vector<double> av = to_f64(ctx, a), bv = to_f64(ctx, b);
  std::vector<double> expected_sum = av, expected_swiglu = av,
                      expected_gate = av;
  for (std::size_t i = 0; i < av.size(); ++i) {
    expected_sum[i] = av[i] + bv[i];
    expected_swiglu[i] = silu_product(av[i], bv[i]);
    expected_gate[i] = gelu_product(av[i], bv[i]);
  }
  EXPECT_TRUE(same_bits(ctx, rounded, a));  // in its own type
  EXPECT_TRUE(close(ctx, sum, expected_sum, rounding(dtype, 1)));
  EXPECT_TRUE(close(ctx, swiglu, expected_swiglu, rounding(dtype, 4)));
  EXPECT_TRUE(close(ctx, gate, expected_gate, rounding(dtype, 4)));
}

TEST_P(Pointwise, BackwardsOfBothTypesAgree) {
  const auto& [dtype, shape] = GetParam();
  for (const Backward backward : {swiglu_backward, gelu_gate_backward}) {
    TestContext ctx;
    Generator rng(2);
    const Tensor dy = normal(ctx, rng, shape, dtype);
    const Tensor a = normal(ctx, rng, shape, dtype, 3);
    const Tensor b = normal(ctx, rng, shape, dtype, 3);
    Tensor da = nans(ctx, shape, dtype), db = nans(ctx, shape, dtype);
    backward(ctx, dy, a, b, da, db);

    const DType f64 = DType::kF64;
    Tensor da64 = nans(ctx, shape, f64), db64 = nans(ctx, shape, f64);
    backward(ctx, from_f64(ctx, to_f64(ctx, dy), shape, f64),
             from_f64(ctx, to_f64(ctx, a), shape, f64),
             from_f64(ctx, to_f64(ctx, b), shape, f64), da64, db64);
    EXPECT_TRUE(close(ctx, da, da64, rounding(dtype, 16)));
    EXPECT_TRUE(close(ctx, db, db64, rounding(dtype, 16)));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Pointwise,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Shape{1}, Shape{7, 17}, Shape{64, 65},
                                        Shape{0, 3})));

void check_backward(Forward forward, Backward backward) {
  TestContext ctx;
  Generator rng(3);
  const Shape shape = {7, 5};
  const Tensor a = normal(ctx, rng, shape, DType::kF64, 2);
  const Tensor b = normal(ctx, rng, shape, DType::kF64, 2);
  const Tensor dy = normal(ctx, rng, shape, DType::kF64);
  Tensor y = nans(ctx, shape, DType::kF64);
  Tensor da = nans(ctx, shape, DType::kF64), db = nans(ctx, shape, y.dtype());
  backward(ctx, dy, a, b, da, db);
  const auto objective = [&] {
    forward(ctx, a, b, y);
    return inner_product(ctx, y, dy);
  };
  EXPECT_TRUE(gradients_agree(ctx, objective, {{"a", a, da}, {"b", b, db}}));
}

TEST(PointwiseBackward, AgreesWithFiniteDifferences) {
  check_backward(swiglu_forward, swiglu_backward);
  check_backward(gelu_gate_forward, gelu_gate_backward);
}

TEST(PointwiseBackward, IsFiniteFarOut) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor far = from_f64(ctx, {-200, 200, -1e4, 1e4}, {4}, dtype);
    const Tensor ones = filled(ctx, 1, {4}, dtype);
    Tensor y = nans(ctx, {4}, dtype);
    Tensor da = nans(ctx, {4}, dtype), db = nans(ctx, {4}, dtype);
    swiglu_forward(ctx, far, ones, y);
    EXPECT_TRUE(close(ctx, y, {0, 200, 0, 1e4}, rounding(dtype, 1)));
    swiglu_backward(ctx, ones, far, ones, da, db);
    EXPECT_TRUE(close(ctx, da, {0, 1, 0, 1}, rounding(dtype, 1)));
    gelu_gate_forward(ctx, ones, far, y);
    EXPECT_TRUE(close(ctx, y, {0, 200, 0, 1e4}, rounding(dtype, 1)));
    gelu_gate_backward(ctx, ones, ones, far, da, db);
    EXPECT_TRUE(close(ctx, db, {0, 1, 0, 1}, rounding(dtype, 1)));
  }
}

TEST(Exponential, IsWithinTwoUnitsInTheLastPlace) {
  double worst = 0;
  for (double x = -87; x < 88; x += 0.00137) {
    const auto at = static_cast<float>(x);
    const double expected = std::exp(static_cast<double>(at));
    worst = std::max(worst, std::abs(cpu::exp(at) / expected - 1));
  }
  EXPECT_LT(worst, 2 * std::numeric_limits<float>::epsilon());
}

TEST(Exponential, KnowsTheEndsOfTheRange) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(cpu::exp(0.F), 1.F);
  EXPECT_EQ(cpu::exp(-kInfinity), 0.F);
  EXPECT_EQ(cpu::exp(-1000.F), 0.F);
  EXPECT_EQ(cpu::exp(kInfinity), kInfinity);
  EXPECT_EQ(cpu::exp(1000.F), kInfinity);
  EXPECT_NEAR(cpu::exp(88.7F) / std::exp(88.7F), 1, 1e-6);
  EXPECT_NEAR(cpu::exp(-95.F) / 5.5e-42, 1, 0.01);  // denormal
  EXPECT_TRUE(std::isnan(cpu::exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(PointwiseThreads, DoNotChangeBits) {
  TestContext ctx;
  const Shape shape = {130, 100};
  const Tensor a = normal(ctx, 4, shape, DType::kF32);
  const Tensor b = normal(ctx, 5, shape, DType::kF32);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor sum = clone(ctx, b), y = nans(ctx, shape, DType::kF32);
    Tensor da = clone(ctx, y), db = clone(ctx, y), dx = clone(ctx, y);
    Tensor dg = clone(ctx, y), gate = clone(ctx, y);
    add(ctx, a, sum);
    swiglu_forward(ctx, a, b, y);
    gelu_gate_forward(ctx, a, b, gate);
    swiglu_backward(ctx, sum, a, b, da, db);
    gelu_gate_backward(ctx, sum, a, b, dx, dg);
    return std::vector<Tensor>{sum, y, gate, da, db, dx, dg};
  }));
}

TEST(PointwiseArguments, AreChecked) {
  TestContext ctx;
  const Tensor a = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor flat = filled(ctx, 1, {6}, DType::kF32);
  Tensor y = nans(ctx, {2, 3}, DType::kF32),
         wide = nans(ctx, {2, 3}, DType::kF64);
  EXPECT_THAT([&] { add(ctx, flat, y); },
              refuses("y: shape [2,3], expected [6]"));
  EXPECT_THAT([&] { swiglu_forward(ctx, a, a, wide); },
              refuses("y: dtype f64"));
  EXPECT_THAT([&] { swiglu_backward(ctx, flat, a, a, y, y); },
              refuses("dy: shape [6]"));
  EXPECT_THAT([&] { gelu_gate_forward(ctx, a, flat, y); },
              refuses("g: shape [6]"));
  EXPECT_THAT([&] { gelu_gate_backward(ctx, a, a, a, y, wide); },
              refuses("dg: dtype f64"));
  Tensor ids = from_ids(ctx, {1});
  EXPECT_THAT([&] { add(ctx, ids, ids); }, refuses("x: dtype i64"));
}

}  // namespace
}  // namespace timepipe
