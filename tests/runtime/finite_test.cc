#include "runtime/finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace timepipe {
namespace {

using ::testing::ThrowsMessage;

template <class T>
Tensor view_of(std::vector<T>& values, const Shape& shape) {
  return Tensor::view(values.data(), dtype_of<T>(), shape);
}

TEST(Finite, NamesHowManyAndTheFirst) {
  std::vector<float> values(70'000, 1.0F);
  values[69'999] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(
      [&] {
        require_finite("x", view_of(values, {7, 10'000}));
      },
      ThrowsMessage<InvalidArgument>(
          "x: 1 of 70000 numbers aren't finite, the first at "
          "[6,9999]: -inf"));
  values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT([&] { require_finite("x", view_of(values, {70'000})); },
              ThrowsMessage<InvalidArgument>(
                  "x: 2 of 70000 numbers aren't finite, the first at [3]: "
                  "nan"));
}

TEST(Finite, TakesTheLargestAndTheEmpty) {
  std::vector<double> values = {std::numeric_limits<double>::max(), -0.0};
  require_finite("x", view_of(values, {2}));
  require_finite("x", Tensor());
}

TEST(Finite, NamesWhatTheOtherTypeCannotHold) {
  std::vector<double> from = {1, -1e39};
  std::vector<float> to(2);
  EXPECT_THAT(
      [&] { convert_finite("x", view_of(from, {2}), view_of(to, {2})); },
      ThrowsMessage<InvalidArgument>(
          "x: 1 of 2 numbers aren't finite as f32, the first at [1]: -1e+39"));
  from[1] = 0.1;
  convert_finite("x", view_of(from, {2}), view_of(to, {2}));
  EXPECT_EQ(to[1], 0.1F);
}

}  // namespace
}  // namespace timepipe
