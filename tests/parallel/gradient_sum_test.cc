#include "parallel/gradient_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/gradient_sum.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using testing::TestContext;
using testing::throws;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ParameterLayout one_parameter(int64_t n) {
  ParameterLayout layout;
  layout.add("w", {n});
  return layout;
}

std::vector<double> values_of(Context& ctx, const GradientSum& sum) {
  Tensor values = testing::nans(ctx, {sum.words().dim(1)}, sum.dtype());
  gradient_sum_values(ctx, sum.words(), 0, values);
  return testing::to_f64(ctx, values);
}

int64_t refused_of(Context& ctx, const GradientSum& sum) {
  return testing::to_i64(ctx, sum.refused()).at(0);
}

// The sum of `count` times the same number, in one element.
double multiple(DType dtype, int64_t count, double addend) {
  const testing::Threads one(1);
  TestContext ctx;
  const ParameterLayout layout = one_parameter(1);
  GradientSum sum(ctx, layout, dtype);
  sum.start(ctx, count);
  const Tensor gradient = testing::filled(ctx, addend, {1}, dtype);
  for (int64_t i = 0; i < count; ++i) sum.add(ctx, 0, gradient);
  EXPECT_EQ(refused_of(ctx, sum), 0);
  return values_of(ctx, sum)[0];
}

class GradientSumOf : public ::testing::TestWithParam<DType> {
 protected:
  TestContext ctx_;
  DType dtype_ = GetParam();
};

INSTANTIATE_TEST_SUITE_P(Types, GradientSumOf,
                         ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(GradientSumOf, RefusesWhatIsNotFiniteOrTooLarge) {
  const ParameterLayout layout = one_parameter(9);
  GradientSum sum(ctx_, layout, dtype_);
  sum.start(ctx_, 3);  // rounded up to 4: the limit is 512
  sum.add(ctx_, 0,
          testing::from_f64(ctx_,
                            {1, kNan, kInfinity, -kInfinity, 512, -512, 1e30,
                             511.9375, -511.9375},
                            {9}, dtype_));
  EXPECT_EQ(refused_of(ctx_, sum), 6);
  auto values = values_of(ctx_, sum);
  values.resize(9);
  EXPECT_THAT(values,
              ::testing::ElementsAre(1, 0, 0, 0, 0, 0, 0, 511.9375, -511.9375));

  sum.add(ctx_, 0, testing::filled(ctx_, kNan, {9}, dtype_));
  EXPECT_EQ(refused_of(ctx_, sum), 6 + 9);

  sum.start(ctx_, 3);
  EXPECT_EQ(refused_of(ctx_, sum), 0);
  EXPECT_THAT(values_of(ctx_, sum), Each(0));
}

// As many addends as promised, each as large as allowed.
TEST_P(GradientSumOf, CannotWrap) {
  const bool f32 = dtype_ == DType::kF32;
  for (const int64_t addends : {int64_t{1}, int64_t{4}, int64_t{1} << 15}) {
    const double limit = 2048. / static_cast<double>(addends);
    const double most = f32 ? std::nextafter(static_cast<float>(limit), 0.f)
                            : std::nextafter(limit, 0.);
    for (const double x : {most, -most}) {
      const double sum = multiple(dtype_, addends, x);
      EXPECT_DOUBLE_EQ(sum, x * static_cast<double>(addends));
    }
  }
}

// hi takes nothing and lo the most it can, of both signs.
TEST(GradientSumF64, LowWordCannotWrap) {
  constexpr int64_t kAddends = int64_t{1} << 15;
  for (const double x : {-0x1p-41, 0x1.8p-40}) {
    EXPECT_EQ(multiple(DType::kF64, kAddends, x), x * kAddends);
  }
}

TEST(GradientSum, KeepsParametersAndPaddingApart) {
  TestContext ctx;
  ParameterLayout layout;
  layout.add("a", {3});
  layout.add("b", {2, 2});
  GradientSum sum(ctx, layout, DType::kF32);
  sum.start(ctx, 1);
  sum.add(ctx, 1, testing::from_f64(ctx, {1, 2, 3, 4}, {2, 2}, DType::kF32));
  const auto values = values_of(ctx, sum);
  std::vector<double> expected(32, 0.);
  for (int i = 0; i < 4; ++i) expected[16 + i] = i + 1;
  EXPECT_EQ(values, expected);
}

TEST(GradientSum, TakesNothingOnceItsStepEnded) {
  TestContext ctx;
  const ParameterLayout layout = one_parameter(1);
  GradientSum sum(ctx, layout, DType::kF32);
  const Tensor one = testing::filled(ctx, 1, {1}, DType::kF32);
  const auto misses_start =
      throws<InvalidArgument>(HasSubstr("before start()"));
  EXPECT_THAT([&] { sum.end(); }, misses_start);
  sum.start(ctx, 1);
  sum.end();
  EXPECT_THAT([&] { sum.add(ctx, 0, one); }, misses_start);
  EXPECT_THAT([&] { sum.end(); }, misses_start);
  sum.start(ctx, 1);
  sum.add(ctx, 0, one);
  EXPECT_EQ(values_of(ctx, sum)[0], 1);
}

TEST(GradientSum, MistakesNameWhatIsWrong) {
  TestContext ctx;
  const ParameterLayout layout = one_parameter(4);
  GradientSum f32(ctx, layout, DType::kF32), f64(ctx, layout, DType::kF64);
  const Tensor g = ctx.zeros({4}, DType::kF32);
  EXPECT_THAT([&] { f32.add(ctx, 0, g); },
              throws<InvalidArgument>(HasSubstr("before start()")));
  EXPECT_THAT([&] { f64.start(ctx, (1 << 15) + 1); },
              throws<InvalidArgument>(
                  HasSubstr("max_addends: 32769, expected 1 to 32768")));
  EXPECT_THROW(f32.start(ctx, 0), InvalidArgument);
  EXPECT_THROW(f32.start(ctx, (int64_t{1} << 39) + 1), InvalidArgument);
  EXPECT_NO_THROW(f32.start(ctx, (1 << 15) + 1));
  EXPECT_NO_THROW(f64.start(ctx, 1 << 15));

  EXPECT_THAT(
      [&] { f64.add(ctx, 0, g); },
      throws<InvalidArgument>("gradient of w: dtype f32, expected f64"));
  EXPECT_THAT(
      [&] {
        f32.add(ctx, 0, g.reshape({2, 2}));
      },
      throws<InvalidArgument>("gradient of w: shape [2,2], expected [4]"));
  EXPECT_THROW(GradientSum(ctx, layout, DType::kI64), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
