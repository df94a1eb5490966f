#include "runtime/finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <span>
#include <vector>

#include "tests/support/throws.h"

namespace timepipe {
namespace {

using testing::throws;

template <class T>
HostArray array_of(const std::vector<T>& values, const Shape& shape) {
  return HostArray(shape, std::span(values));
}

TEST(Finite, NamesHowManyAndTheFirst) {
  std::vector<float> values(70'000, 1.0F);
  values[69'999] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(
      [&] {
        require_finite("x", array_of(values, {7, 10'000}));
      },
      throws<InvalidArgument>(
          "x: 1 of 70000 numbers aren't finite, the first at "
          "[6,9999]: -inf"));
  values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT([&] { require_finite("x", array_of(values, {70'000})); },
              throws<InvalidArgument>(
                  "x: 2 of 70000 numbers aren't finite, the first at [3]: "
                  "nan"));
}

TEST(Finite, TakesTheLargestAndTheEmpty) {
  std::vector<double> values = {std::numeric_limits<double>::max(), -0.0};
  require_finite("x", array_of(values, {2}));
  require_finite("x", HostArray());
}

TEST(Finite, NamesWhatTheOtherTypeCannotHold) {
  EXPECT_THAT(
      [] {
        converted_finite("x", array_of<double>({1, -1e39}, {2}), DType::kF32);
      },
      throws<InvalidArgument>(
          "x: 1 of 2 numbers aren't finite as f32, the first at [1]: -1e+39"));
  const HostArray fits =
      converted_finite("x", array_of<double>({1, 0.1}, {2}), DType::kF32);
  EXPECT_EQ(fits.values<float>()[1], 0.1F);
}

}  // namespace
}  // namespace timepipe
