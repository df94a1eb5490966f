#include "kernels/gradient_sum.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kLimit = 512;

// The words of one sum and what was refused of it.
struct Sum {
  Sum(Context& ctx, DType dtype, int64_t n)
      : words(ctx.zeros({gradient_sum_words(dtype), n}, DType::kI64)),
        refused(ctx.zeros({1}, DType::kI64)) {}
  void add(Context& ctx, const Tensor& gradient, int64_t offset = 0) {
    gradient_sum_add(ctx, gradient, kLimit, offset, words, refused);
  }
  std::vector<double> values(Context& ctx, DType dtype) const {
    Tensor values = nans(ctx, {words.dim(1)}, dtype);
    gradient_sum_values(ctx, words, 0, values);
    return to_f64(ctx, values);
  }
  Tensor words, refused;
};

// The sum of numbers that go into one element.
double sum_of(DType dtype, const std::vector<double>& addends) {
  TestContext ctx;
  Sum sum(ctx, dtype, 1);
  for (const double addend : addends) {
    sum.add(ctx, filled(ctx, addend, {1}, dtype));
  }
  EXPECT_EQ(to_i64(ctx, sum.refused)[0], 0);
  return sum.values(ctx, dtype)[0];
}

// Of either sign and of a size between 1e-30 and 1e2, every power of ten as
// likely as the others.
std::vector<Tensor> random_addends(Context& ctx, int64_t count, int64_t n,
                                   DType dtype) {
  Generator rng(11);
  std::vector<Tensor> addends;
  for (int64_t a = 0; a < count; ++a) {
    addends.push_back(generate(ctx, {n}, dtype, [&](int64_t) {
      const double size = std::pow(10., -30 + 32 * uniform(rng));
      return rng() % 2 == 0 ? size : -size;
    }));
  }
  return addends;
}

class GradientSumKernel : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr int64_t kElements = 2 * 16384 + 5;

  // After adding addends[order[i]] for i in [begin, end).
  Sum add(const std::vector<Tensor>& addends, const std::vector<int>& order,
          std::size_t begin, std::size_t end) {
    Sum sum(ctx_, dtype_, kElements);
    for (std::size_t i = begin; i < end; ++i) sum.add(ctx_, addends[order[i]]);
    EXPECT_EQ(to_i64(ctx_, sum.refused)[0], 0);
    return sum;
  }

  TestContext ctx_;
  DType dtype_ = GetParam();
};

INSTANTIATE_TEST_SUITE_P(Types, GradientSumKernel,
                         Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(GradientSumKernel, IsTheSumWithinItsUnit) {
  constexpr int64_t kAddends = 16;
  const auto addends = random_addends(ctx_, kAddends, kElements, dtype_);
  std::vector<int> order(kAddends);
  std::iota(order.begin(), order.end(), 0);
  const auto values = add(addends, order, 0, kAddends).values(ctx_, dtype_);
  std::vector<std::vector<double>> numbers;
  for (const Tensor& addend : addends) {
    numbers.push_back(to_f64(ctx_, addend));
  }

  const bool f32 = dtype_ == DType::kF32;
  const double half_unit = std::ldexp(1, f32 ? -53 : -89);
  // Rounding to double, then to the type of the values.
  const double relative = 0x1p-53 + (f32 ? 0x1p-24 : 0x1p-53);
  for (int64_t i = 0; i < kElements; ++i) {
    long double sum = 0, size = 0;
    for (const std::vector<double>& x : numbers) {
      sum += static_cast<long double>(x[i]);
      size += static_cast<long double>(std::abs(x[i]));
    }
    const double bound =
        kAddends * half_unit + relative * std::abs(static_cast<double>(sum)) +
        kAddends * 0x1p-64 * static_cast<double>(size);  // of long double
    ASSERT_LE(std::abs(static_cast<double>(values[i] - sum)), bound)
        << "element " << i;
  }
}

// The words' bits are the same on every device.
TEST_P(GradientSumKernel, AddsTheNearestMultiplesOfItsUnits) {
  const auto addends = random_addends(ctx_, 3, kElements, dtype_);
  const Sum sum = add(addends, {0, 1, 2}, 0, 3);
  std::vector<int64_t> expected(sum.words.numel(), 0);
  for (const Tensor& addend : addends) {
    const std::vector<double> x = to_f64(ctx_, addend);
    for (int64_t i = 0; i < kElements; ++i) {
      const int first = dtype_ == DType::kF32 ? 52 : 40;
      const int64_t word = std::llrint(std::ldexp(x[i], first));
      expected[i] += word;
      if (dtype_ == DType::kF32) continue;
      const double rest = x[i] - std::ldexp(static_cast<double>(word), -first);
      expected[kElements + i] += std::llrint(std::ldexp(rest, 88));
    }
  }
  EXPECT_EQ(to_i64(ctx_, sum.words), expected);
}

TEST_P(GradientSumKernel, DoesNotDependOnTheOrder) {
  const auto addends = random_addends(ctx_, 10, kElements, dtype_);
  std::vector<int> order(10);
  std::iota(order.begin(), order.end(), 0);
  const Sum expected = add(addends, order, 0, 10);
  Generator rng(3);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::shuffle(order.begin(), order.end(), rng);
    EXPECT_TRUE(
        same_bits(ctx_, add(addends, order, 0, 10).words, expected.words));
  }
}

TEST_P(GradientSumKernel, DoesNotDependOnHowTheAddendsAreShared) {
  const auto addends = random_addends(ctx_, 10, kElements, dtype_);
  std::vector<int> order(10);
  std::iota(order.begin(), order.end(), 0);
  const std::vector<int64_t> expected =
      to_i64(ctx_, add(addends, order, 0, 10).words);
  for (const std::size_t parts : {2, 3, 7}) {
    std::vector<int64_t> total(expected.size(), 0);
    for (std::size_t part = 0; part < parts; ++part) {
      const std::vector<int64_t> words = to_i64(
          ctx_, add(addends, order, 10 * part / parts, 10 * (part + 1) / parts)
                    .words);
      std::ranges::transform(words, total, total.begin(), std::plus<>());
    }
    EXPECT_EQ(total, expected) << parts << " parts";
  }
}

TEST_P(GradientSumKernel, DoesNotDependOnThreads) {
  auto addends = random_addends(ctx_, 2, kElements, dtype_);
  addends.push_back(generate(ctx_, {kElements}, dtype_,
                             [](int64_t i) { return i % 3 ? 1 : kNan; }));
  EXPECT_TRUE(same_bits_for_any_threads(ctx_, [&] {
    Sum sum(ctx_, dtype_, kElements);
    for (const Tensor& addend : addends) sum.add(ctx_, addend);
    EXPECT_EQ(to_i64(ctx_, sum.refused)[0], (kElements + 2) / 3);
    Tensor values = nans(ctx_, {kElements}, dtype_);
    gradient_sum_values(ctx_, sum.words, 0, values);
    return std::vector<Tensor>{sum.words, values};
  }));
}

TEST_P(GradientSumKernel, AddsBehindItsOffsetAndCountsWhatItRefuses) {
  Sum sum(ctx_, dtype_, 6);
  sum.add(ctx_, from_f64(ctx_, {1, kNan, kLimit, -2}, {4}, dtype_), 2);
  sum.add(ctx_, from_f64(ctx_, {3, -kLimit}, {2}, dtype_));
  EXPECT_EQ(to_i64(ctx_, sum.refused)[0], 3);
  EXPECT_EQ(sum.values(ctx_, dtype_), (std::vector<double>{3, 0, 1, 0, 0, -2}));
}

TEST_P(GradientSumKernel, ReadsBehindAnOffset) {
  Sum sum(ctx_, dtype_, 5);
  sum.add(ctx_, from_f64(ctx_, {1, 2, 3, 4, 5}, {5}, dtype_));
  Tensor values = nans(ctx_, {2}, dtype_);
  gradient_sum_values(ctx_, sum.words, 2, values);
  EXPECT_EQ(to_f64(ctx_, values), (std::vector<double>{3, 4}));
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
  const double sum = sum_of(DType::kF64, addends);
  EXPECT_LE(std::abs(static_cast<double>(sum - expected)), 1e-26);
}

TEST(GradientSumF32, AddsExactlyWhatIsAMultipleOfItsUnit) {
  EXPECT_EQ(sum_of(DType::kF32, {512 - 0x1p-15, 0x1p-52, -512 + 0x1p-15}),
            0x1p-52);
  // Halves of the unit go to the even neighbour.
  EXPECT_EQ(sum_of(DType::kF32, {0x1p-53}), 0);
  EXPECT_EQ(sum_of(DType::kF32, {-0x1.8p-52}), -0x1p-51);
}

TEST(GradientSumArguments, AreChecked) {
  TestContext ctx;
  Sum f32(ctx, DType::kF32, 4), f64(ctx, DType::kF64, 4);
  const Tensor g = filled(ctx, 1, {4}, DType::kF32);
  EXPECT_THAT([&] { f32.add(ctx, g, 1); }, refuses("offset: 1"));
  EXPECT_THAT([&] { f64.add(ctx, g); },
              refuses("words: shape [2,4], expected [1,4]"));
  Tensor values = nans(ctx, {3}, DType::kF64);
  EXPECT_THAT([&] { gradient_sum_values(ctx, f64.words, 2, values); },
              refuses("offset: 2, expected one for 3 of 4 elements"));
}

}  // namespace
}  // namespace timepipe
