#include "launcher/generate/sampler.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "runtime/error.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using testing::throws;

HostArray logits_of(const std::vector<double>& values) {
  const HostArray logits({1, std::ssize(values)}, std::span(values));
  return converted(logits, DType::kF32);
}

void expect_near(const std::vector<double>& actual,
                 const std::vector<double>& expected) {
  EXPECT_THAT(actual, Pointwise(DoubleNear(1e-14), expected));
}

// 0.5, 0.25, 0.125, 0.125 in another order.
const std::vector<double> kHalves = {std::log(0.125), std::log(0.5),
                                     std::log(0.125), std::log(0.25)};

TEST(Probabilities, AreTheSoftmaxOfLogitsOverTemperature) {
  expect_near(probabilities({}, kHalves), {0.125, 0.5, 0.125, 0.25});
  const double sum = 4 + 16 + 1 + 1;
  expect_near(probabilities({.temperature = 0.5}, kHalves),
              {1 / sum, 16 / sum, 1 / sum, 4 / sum});
  EXPECT_EQ(probabilities({.temperature = 1e-300}, kHalves),
            (std::vector<double>{0, 1, 0, 0}));
}

TEST(Probabilities, TopKKeepsTheLargestAndEqualsOfTheLast) {
  expect_near(probabilities({.top_k = 2}, kHalves), {0, 2. / 3, 0, 1. / 3});
  expect_near(probabilities({.top_k = 3}, kHalves), {0.125, 0.5, 0.125, 0.25});
  expect_near(probabilities({.top_k = 1}, kHalves), {0, 1, 0, 0});
  expect_near(probabilities({.top_k = 9}, kHalves), {0.125, 0.5, 0.125, 0.25});
}

TEST(Probabilities, TopPKeepsTheFewestWhoseSumReachesIt) {
  expect_near(probabilities({.top_p = 0.4}, kHalves), {0, 1, 0, 0});
  expect_near(probabilities({.top_p = 0.6}, kHalves), {0, 2. / 3, 0, 1. / 3});
  expect_near(probabilities({.top_p = 0.8}, kHalves),
              {1. / 7, 4. / 7, 0, 2. / 7});
  expect_near(probabilities({.top_p = 1e-9}, kHalves), {0, 1, 0, 0});
}

// p after k, k after the temperature: of 2/3 and 1/3, at temperature 1/2 of
// 4/5 and 1/5, 0.7 keeps the first alone.
TEST(Probabilities, OptionsApplyInHuggingFacesOrder) {
  expect_near(probabilities({.top_k = 2, .top_p = 0.7}, kHalves),
              {0, 2. / 3, 0, 1. / 3});
  expect_near(
      probabilities({.temperature = 0.5, .top_k = 2, .top_p = 0.7}, kHalves),
      {0, 1, 0, 0});
}

TEST(Sample, TemperatureZeroTakesTheFirstOfTheLargest) {
  EXPECT_EQ(sample({.temperature = 0}, 5, logits_of({1, 3, 3, 2})), 1);
}

TEST(Sample, IsAPureFunctionOfSeedAndPosition) {
  const HostArray logits = logits_of(std::vector<double>(100, 0.0));
  std::vector<int64_t> first, again, other;
  for (int64_t i = 0; i < 50; ++i) {
    first.push_back(sample({.seed = 1}, i, logits));
    other.push_back(sample({.seed = 2}, i, logits));
  }
  for (int64_t i = 49; i >= 0; --i) {
    again.insert(again.begin(), sample({.seed = 1}, i, logits));
  }
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other);
}

TEST(Sample, FrequenciesAreTheProbabilities) {
  const HostArray logits = logits_of(kHalves);
  constexpr int kDraws = 20000;
  std::vector<double> share(4, 0.0);
  for (int64_t i = 0; i < kDraws; ++i) {
    share[static_cast<std::size_t>(sample({}, i, logits))] += 1.0 / kDraws;
  }
  // Four deviations of a share of a half.
  EXPECT_THAT(share, Pointwise(DoubleNear(4 * 0.5 / std::sqrt(kDraws)),
                               {0.125, 0.5, 0.125, 0.25}));
}

TEST(Sample, NeverTakesWhatWent) {
  const HostArray logits = logits_of(kHalves);
  for (int64_t i = 0; i < 500; ++i) {
    EXPECT_EQ(sample({.top_k = 1}, i, logits), 1);
    EXPECT_NE(sample({.top_p = 0.8}, i, logits), 2);
  }
}

TEST(Sample, NamesWhatIsNotFinite) {
  const HostArray logits =
      logits_of({0, std::numeric_limits<double>::quiet_NaN()});
  EXPECT_THAT(
      [&] { sample({}, 7, logits); },
      throws<InvalidArgument>(HasSubstr("logits after 7 tokens: nan of id 1")));
}

TEST(SamplerOptions, AreChecked) {
  const auto expect = [](const SamplerOptions& options, const char* text) {
    EXPECT_THAT([&] { validate(options); },
                throws<InvalidArgument>(HasSubstr(text)));
  };
  expect({.temperature = -1}, "--temperature: -1");
  expect({.temperature = std::numeric_limits<double>::infinity()},
         "--temperature: inf");
  expect({.top_k = -1}, "--top-k: -1");
  expect({.top_p = 0}, "--top-p: 0");
  expect({.top_p = 1.5}, "--top-p: 1.5");
  EXPECT_NO_THROW(validate(SamplerOptions{}));
}

}  // namespace
}  // namespace timepipe
