#include "runtime/host_array.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "tests/support/tensors.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using testing::throws;

TEST(HostArray, HoldsTheValuesGiven) {
  const std::vector<float> numbers = {1, 2, 3, 4, 5, 6};
  HostArray array({2, 3}, std::span(numbers));
  EXPECT_EQ(array.dtype(), DType::kF32);
  EXPECT_EQ(array.shape(), (Shape{2, 3}));
  EXPECT_EQ(array.numel(), 6);
  EXPECT_EQ(array.size_bytes(), 24);
  EXPECT_EQ(array.bytes().size(), 24u);
  array.values<float>()[1] = 9;
  EXPECT_THAT(testing::to_f64(array), ElementsAre(1, 9, 3, 4, 5, 6));
}

TEST(HostArray, MayBeEmpty) {
  EXPECT_EQ(HostArray().shape(), Shape{0});
  EXPECT_TRUE(HostArray({3, 0}, DType::kI64).values<int64_t>().empty());
  EXPECT_EQ(HostArray({}, DType::kF64).numel(), 1);
}

TEST(HostArray, MistakesNameWhatIsWrong) {
  const std::vector<int64_t> ids = {1, 2, 3};
  EXPECT_THAT(
      [&] {
        HostArray({2, 2}, std::span(ids));
      },
      throws<InvalidArgument>("3 values, expected those of shape [2,2]"));
  const HostArray array({3}, std::span(ids));
  EXPECT_THAT([&] { array.values<float>(); },
              throws<InvalidArgument>("array of dtype i64 read as f32"));
}

TEST(Converted, GivesTheNearestNumbersOfTheOtherType) {
  const std::vector<double> numbers = {0.1, -3, 0x1p100};
  const HostArray wide({3, 1}, std::span(numbers));
  const HostArray narrow = converted(wide, DType::kF32);
  EXPECT_EQ(narrow.shape(), wide.shape());
  EXPECT_THAT(narrow.values<float>(), ElementsAre(0.1F, -3.F, 0x1p100F));
  const HostArray again = converted(narrow, DType::kF64);
  EXPECT_THAT(again.values<double>(),
              ElementsAre(static_cast<double>(0.1F), -3, 0x1p100));
  EXPECT_TRUE(testing::same_bits(converted(wide, DType::kF64), wide));
  const HostArray stored = converted(narrow, DType::kBF16);
  EXPECT_EQ(stored.size_bytes(), 6);
  EXPECT_THAT(converted(stored, DType::kF32).values<float>(),
              ElementsAre(0.10009765625F, -3.F, 0x1p100F));
  EXPECT_THAT([&] { converted(wide, DType::kI64); },
              throws<InvalidArgument>("dtype: i64, expected f32, f64 or bf16"));
}

}  // namespace
}  // namespace timepipe
