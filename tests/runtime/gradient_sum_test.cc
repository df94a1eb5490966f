#include "runtime/gradient_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "tests/support/tensors.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

using ::testing::Each;
using testing::Generator;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

ParameterLayout one_parameter(int64_t n) {
  ParameterLayout layout;
  layout.add("w", {n});
  return layout;
}

using Words = std::vector<std::vector<int64_t>>;

Words words_of(const GradientSum& sum) {
  Words words;
  for (int w = 0; w < sum.words_per_element(); ++w) {
    words.emplace_back(sum.plane(w).begin(), sum.plane(w).end());
  }
  return words;
}

std::vector<double> values_of(Context& ctx, DType dtype, const Words& words) {
  Tensor values =
      testing::nans(ctx, {static_cast<int64_t>(words[0].size())}, dtype);
  const std::vector<std::span<const int64_t>> planes(words.begin(),
                                                     words.end());
  GradientSum::to_values(dtype, planes, values);
  return testing::to_f64(values);
}

// The sum of numbers that go into one element.
double sum_of(DType dtype, int64_t max_addends,
              const std::vector<double>& addends) {
  const testing::Threads one(1);
  Context ctx;
  const ParameterLayout layout = one_parameter(1);
  GradientSum sum(ctx, layout, dtype);
  sum.start(max_addends);
  for (const double addend : addends) {
    sum.add(0, testing::filled(ctx, addend, {1}, dtype));
  }
  EXPECT_EQ(sum.num_refused(), 0);
  return values_of(ctx, dtype, words_of(sum))[0];
}

// Of either sign and of a size between 1e-30 and 1e2, every power of ten as
// likely as the others.
std::vector<Tensor> random_addends(Context& ctx, int64_t count, int64_t n,
                                   DType dtype) {
  Generator rng(11);
  std::vector<Tensor> addends;
  for (int64_t a = 0; a < count; ++a) {
    addends.push_back(testing::generate(ctx, {n}, dtype, [&](int64_t) {
      const double size = std::pow(10., -30 + 32 * testing::uniform(rng));
      return rng() % 2 == 0 ? size : -size;
    }));
  }
  return addends;
}

class GradientSumOf : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr int64_t kElements = 2 * ParameterBlock::kElements + 5;

  // Words after adding addends[order[i]] for i in [begin, end).
  Words add(const std::vector<Tensor>& addends, const std::vector<int>& order,
            std::size_t begin, std::size_t end) {
    GradientSum sum(ctx_, layout_, dtype_);
    sum.start(static_cast<int64_t>(addends.size()));
    for (std::size_t i = begin; i < end; ++i) sum.add(0, addends[order[i]]);
    EXPECT_EQ(sum.num_refused(), 0);
    return words_of(sum);
  }

  Context ctx_;
  DType dtype_ = GetParam();
  ParameterLayout layout_ = one_parameter(kElements);
};

INSTANTIATE_TEST_SUITE_P(Types, GradientSumOf,
                         ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(GradientSumOf, IsTheSumWithinItsUnit) {
  constexpr int64_t kAddends = 16;
  const auto addends = random_addends(ctx_, kAddends, kElements, dtype_);
  std::vector<int> order(kAddends);
  std::iota(order.begin(), order.end(), 0);
  const auto values = values_of(ctx_, dtype_, add(addends, order, 0, kAddends));

  const bool f32 = dtype_ == DType::kF32;
  const double half_unit = std::ldexp(1, f32 ? -53 : -89);
  // Rounding to double, then to the type of the values.
  const double relative = 0x1p-53 + (f32 ? 0x1p-24 : 0x1p-53);
  for (int64_t i = 0; i < kElements; ++i) {
    long double sum = 0, size = 0;
    for (const Tensor& addend : addends) {
      const long double x =
          f32 ? addend.data<float>()[i] : addend.data<double>()[i];
      sum += x;
      size += std::abs(x);
    }
    const double bound =
        kAddends * half_unit + relative * std::abs(static_cast<double>(sum)) +
        kAddends * 0x1p-64 * static_cast<double>(size);  // of long double
    ASSERT_LE(std::abs(static_cast<double>(values[i] - sum)), bound)
        << "element " << i;
  }
}

TEST_P(GradientSumOf, DoesNotDependOnTheOrder) {
  const auto addends = random_addends(ctx_, 10, kElements, dtype_);
  std::vector<int> order(10);
  std::iota(order.begin(), order.end(), 0);
  const Words expected = add(addends, order, 0, 10);
  Generator rng(3);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::shuffle(order.begin(), order.end(), rng);
    EXPECT_EQ(add(addends, order, 0, 10), expected);
  }
}

TEST_P(GradientSumOf, DoesNotDependOnHowTheAddendsAreShared) {
  const auto addends = random_addends(ctx_, 10, kElements, dtype_);
  std::vector<int> order(10);
  std::iota(order.begin(), order.end(), 0);
  const Words expected = add(addends, order, 0, 10);
  for (const std::size_t parts : {2, 3, 7}) {
    Words total;
    for (std::size_t part = 0; part < parts; ++part) {
      const Words words =
          add(addends, order, 10 * part / parts, 10 * (part + 1) / parts);
      if (part == 0) {
        total = words;
        continue;
      }
      for (std::size_t w = 0; w < words.size(); ++w) {
        std::transform(words[w].begin(), words[w].end(), total[w].begin(),
                       total[w].begin(), std::plus<>());
      }
    }
    EXPECT_EQ(total, expected) << parts << " parts";
  }
}

TEST_P(GradientSumOf, DoesNotDependOnThreads) {
  auto addends = random_addends(ctx_, 2, kElements, dtype_);
  addends.push_back(testing::generate(
      ctx_, {kElements}, dtype_, [](int64_t i) { return i % 3 ? 1 : kNan; }));
  Words expected;
  for (const int count : {1, 2, 3}) {
    const testing::Threads threads(count);
    GradientSum sum(ctx_, layout_, dtype_);
    sum.start(3);
    for (const Tensor& addend : addends) sum.add(0, addend);
    EXPECT_EQ(sum.num_refused(), (kElements + 2) / 3);
    if (count == 1) expected = words_of(sum);
    EXPECT_EQ(words_of(sum), expected) << count << " threads";
  }
}

TEST_P(GradientSumOf, RefusesWhatIsNotFiniteOrTooLarge) {
  const ParameterLayout layout = one_parameter(9);
  GradientSum sum(ctx_, layout, dtype_);
  sum.start(3);  // rounded up to 4: the limit is 512
  sum.add(0, testing::from_f64(ctx_,
                               {1, kNan, kInfinity, -kInfinity, 512, -512, 1e30,
                                511.9375, -511.9375},
                               {9}, dtype_));
  EXPECT_EQ(sum.num_refused(), 6);
  auto values = values_of(ctx_, dtype_, words_of(sum));
  values.resize(9);
  EXPECT_THAT(values,
              ::testing::ElementsAre(1, 0, 0, 0, 0, 0, 0, 511.9375, -511.9375));

  sum.add(0, testing::filled(ctx_, kNan, {9}, dtype_));
  EXPECT_EQ(sum.num_refused(), 6 + 9);

  sum.start(3);
  EXPECT_EQ(sum.num_refused(), 0);
  EXPECT_THAT(values_of(ctx_, dtype_, words_of(sum)), Each(0));
}

// As many addends as promised, each as large as allowed.
TEST_P(GradientSumOf, CannotWrap) {
  const bool f32 = dtype_ == DType::kF32;
  for (const int64_t addends : {int64_t{1}, int64_t{4}, int64_t{1} << 15}) {
    const double limit = 2048. / static_cast<double>(addends);
    const double most = f32 ? std::nextafter(static_cast<float>(limit), 0.f)
                            : std::nextafter(limit, 0.);
    for (const double x : {most, -most}) {
      const double sum = sum_of(dtype_, addends, std::vector(addends, x));
      EXPECT_DOUBLE_EQ(sum, x * static_cast<double>(addends));
    }
  }
}

// hi takes nothing and lo the most it can, of both signs.
TEST(GradientSumF64, LowWordCannotWrap) {
  constexpr int64_t kAddends = int64_t{1} << 15;
  for (const double x : {-0x1p-41, 0x1.8p-40}) {
    EXPECT_EQ(sum_of(DType::kF64, kAddends, std::vector(kAddends, x)),
              x * kAddends);
  }
}

TEST(GradientSumF64, KeepsSmallGradientsBesideLargeOnes) {
  const std::vector<double> small = {1.2345678901234567e-13, -9.87e-20,
                                     3.3333333333333333e-15, 7.7e-25};
  std::vector<double> addends;
  long double expected = 0;
  for (const double x : small) {
    addends.insert(addends.end(), {M_PI * 37, x, -M_PI * 37});
    expected += x;
  }
  const double sum = sum_of(DType::kF64, 16, addends);
  EXPECT_LE(std::abs(static_cast<double>(sum - expected)), 1e-26);
}

TEST(GradientSumF32, AddsExactlyWhatIsAMultipleOfItsUnit) {
  EXPECT_EQ(sum_of(DType::kF32, 4, {512 - 0x1p-15, 0x1p-52, -512 + 0x1p-15}),
            0x1p-52);
  // Halves of the unit go to the even neighbour.
  EXPECT_EQ(sum_of(DType::kF32, 1, {0x1p-53}), 0);
  EXPECT_EQ(sum_of(DType::kF32, 1, {-0x1.8p-52}), -0x1p-51);
}

TEST(GradientSum, KeepsParametersAndPaddingApart) {
  Context ctx;
  ParameterLayout layout;
  layout.add("a", {3});
  layout.add("b", {2, 2});
  GradientSum sum(ctx, layout, DType::kF32);
  sum.start(1);
  sum.add(1, testing::from_f64(ctx, {1, 2, 3, 4}, {2, 2}, DType::kF32));
  const auto values = values_of(ctx, DType::kF32, words_of(sum));
  std::vector<double> expected(32, 0.);
  for (int i = 0; i < 4; ++i) expected[16 + i] = i + 1;
  EXPECT_EQ(values, expected);
}

TEST(GradientSum, MistakesNameWhatIsWrong) {
  Context ctx;
  const ParameterLayout layout = one_parameter(4);
  GradientSum f32(ctx, layout, DType::kF32), f64(ctx, layout, DType::kF64);
  const Tensor g = ctx.zeros({4}, DType::kF32);
  EXPECT_THAT([&] { f32.add(0, g); },
              ThrowsMessage<InvalidArgument>(HasSubstr("before start()")));
  EXPECT_THAT([&] { f64.start((1 << 15) + 1); },
              ThrowsMessage<InvalidArgument>(
                  HasSubstr("max_addends: 32769, expected 1 to 32768")));
  EXPECT_THROW(f32.start(0), InvalidArgument);
  EXPECT_THROW(f32.start((int64_t{1} << 39) + 1), InvalidArgument);
  EXPECT_NO_THROW(f32.start((1 << 15) + 1));
  EXPECT_NO_THROW(f64.start(1 << 15));

  EXPECT_THAT(
      [&] { f64.add(0, g); },
      ThrowsMessage<InvalidArgument>("gradient of w: dtype f32, expected f64"));
  EXPECT_THAT(
      [&] {
        f32.add(0, g.reshape({2, 2}));
      },
      ThrowsMessage<InvalidArgument>(
          "gradient of w: shape [2,2], expected [4]"));
  EXPECT_THROW(f32.plane(1), InvalidArgument);
  EXPECT_THROW(GradientSum(ctx, layout, DType::kI64), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
