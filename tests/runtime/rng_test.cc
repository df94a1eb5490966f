#include "runtime/rng.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <set>
#include <vector>

#include "tests/support/tensors.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

constexpr uint64_t kOnes = std::numeric_limits<uint64_t>::max();

struct KnownAnswer {
  uint64_t seed, stream, n;  // key, upper and lower half of the counter
  uint64_t first, second;    // halves of the block
};

// The known-answer vectors of the authors' Random123 library, philox4x32 10.
constexpr KnownAnswer kKnownAnswers[] = {
    {0, 0, 0, 0xe169c58d6627e8d5, 0x9b00dbd8bc57ac4c},
    {kOnes, kOnes, kOnes, 0x41c83b0e408f276d, 0x6d5451fda20bc7c6},
    {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88,
     0x94fdccebd16cfe09, 0x24126ea15001e420}};

double to_unit(uint64_t bits) { return std::ldexp(bits >> 11, -53); }

TEST(Rng, GivesTheKnownAnswersOfPhilox) {
  for (const KnownAnswer& known : kKnownAnswers) {
    const Rng rng(known.seed, known.stream);
    EXPECT_EQ(rng.bits(known.n), known.first);
    EXPECT_EQ(rng.uniform(known.n), to_unit(known.first));
    EXPECT_DOUBLE_EQ(
        rng.normal(known.n),
        std::sqrt(-2 * std::log(1 - to_unit(known.first))) *
            std::cos(2 * std::numbers::pi * to_unit(known.second)));
  }
}

TEST(Rng, StreamsAndSeedsDiffer) {
  const uint64_t base = Rng(1, "w").bits(0);
  EXPECT_EQ(Rng(1, "w").bits(0), base);
  EXPECT_NE(Rng(1, "v").bits(0), base);
  EXPECT_NE(Rng(2, "w").bits(0), base);
  EXPECT_NE(Rng(1, "w").bits(1), base);
}

// First two moments of n numbers, each within 5 of its own deviations.
void expect_moments(const std::vector<double>& x, double deviation,
                    double fourth_moment) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  for (const double value : x) {
    mean += value / n;
    square += value * value / n;
  }
  const double variance = deviation * deviation;
  EXPECT_NEAR(mean, 0, 5 * deviation / std::sqrt(n));
  EXPECT_NEAR(square, variance,
              5 * std::sqrt((fourth_moment - variance * variance) / n));
}

constexpr int64_t kNumbers = 20'000;

TEST(FillNormal, HasTheMomentsOfTheNormalDistribution) {
  HostArray x = testing::nans({kNumbers}, DType::kF64);
  fill_normal(Rng(1, 2), 0.5, x);
  expect_moments(testing::to_f64(x), 0.5, 3 * std::pow(0.5, 4));
  EXPECT_EQ(x.values<double>()[77], 0.5 * Rng(1, 2).normal(77));
}

TEST(FillTruncatedNormal, IsCutAndHasTheDeviationAsked) {
  HostArray x = testing::nans({kNumbers}, DType::kF64);
  fill_truncated_normal(Rng(1, 2), 0.02, x);
  const std::vector<double> values = testing::to_f64(x);
  const double cut = 2 * 0.02 / 0.87962566103423978;
  // Below that of the normal distribution: fewer far values.
  expect_moments(values, 0.02, 3 * std::pow(0.02, 4));
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  EXPECT_GE(*least, -cut);
  EXPECT_LE(*most, cut);
  EXPECT_LT(*least, -0.99 * cut);  // but not cut earlier
  EXPECT_GT(*most, 0.99 * cut);
}

TEST(FillUniform, StaysInsideItsBounds) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    HostArray x = testing::nans({kNumbers}, dtype);
    fill_uniform(Rng(1, 2), 0.1, x);
    const std::vector<double> values = testing::to_f64(x);
    expect_moments(values, 0.1 / std::sqrt(3), std::pow(0.1, 4) / 5);
    for (const double value : values) {
      EXPECT_GE(value, -0.1 - 1e-8);  // f32 of -0.1 is a little below
      EXPECT_LT(value, 0.1);
    }
  }
}

TEST(Fill, GivesTheSameNumbersInBothTypes) {
  for (const auto fill : {fill_normal, fill_truncated_normal, fill_uniform}) {
    HostArray x = testing::nans({9, 11}, DType::kF64);
    HostArray y = testing::nans({9, 11}, DType::kF32);
    fill(Rng(3, 4), 0.3, x);
    fill(Rng(3, 4), 0.3, y);
    EXPECT_TRUE(testing::same_bits(y, converted(x, DType::kF32)));
  }
}

TEST(Fill, DoesNotDependOnThreads) {
  Context ctx;
  EXPECT_TRUE(testing::same_bits_for_any_threads(ctx, [&] {
    std::vector<Tensor> filled;
    for (const auto fill : {fill_normal, fill_truncated_normal, fill_uniform}) {
      HostArray x = testing::nans({10'001}, DType::kF32);
      fill(Rng(3, 4), 0.3, x);
      filled.push_back(upload(ctx, x));
    }
    return filled;
  }));
}

TEST(PermutedIndex, VisitsEachIndexOnce) {
  for (const int64_t size : {1, 2, 3, 4, 5, 16, 17, 255, 1000, 1025}) {
    std::set<int64_t> seen;
    for (int64_t i = 0; i < size; ++i) {
      const int64_t place = permuted_index(Rng(5, "order"), i, size);
      EXPECT_GE(place, 0);
      EXPECT_LT(place, size);
      seen.insert(place);
    }
    EXPECT_EQ(std::ssize(seen), size);
  }
}

TEST(PermutedIndex, WorksForHugeSizes) {
  const int64_t size = std::numeric_limits<int64_t>::max();
  std::set<int64_t> seen;
  for (int64_t i = 0; i < 1000; ++i) {
    const int64_t place = permuted_index(Rng(5, "order"), size - 1 - i, size);
    EXPECT_GE(place, 0);
    EXPECT_LT(place, size);
    seen.insert(place);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

// Every place is equally likely for the first index: 12 counts of about 500,
// each within 5 deviations.
TEST(PermutedIndex, IsEvenOverSeeds) {
  constexpr int64_t kSize = 12, kSeeds = 6000;
  std::vector<int64_t> counts(kSize);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    ++counts[permuted_index(Rng(seed, "order"), 0, kSize)];
  }
  for (const int64_t count : counts) {
    constexpr double kExpected = static_cast<double>(kSeeds) / kSize;
    EXPECT_NEAR(count, kExpected, 5 * std::sqrt(kExpected));
  }
}

TEST(PermutedIndex, RefusesIndicesOutside) {
  EXPECT_THROW(permuted_index(Rng(1, 1), -1, 5), InvalidArgument);
  EXPECT_THROW(permuted_index(Rng(1, 1), 5, 5), InvalidArgument);
  EXPECT_THROW(permuted_index(Rng(1, 1), 0, 0), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
