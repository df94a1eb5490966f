#include "launcher/generate/loss_by_position.h"

#include <gtest/gtest.h>

namespace timepipe {
namespace {

TEST(LossByPosition, BucketsDouble) {
  LossByPosition losses;
  for (int64_t i = 1; i <= 9; ++i) losses.add(i, static_cast<double>(i));
  EXPECT_EQ(losses.tokens(), 9);
  EXPECT_EQ(losses.mean(), 5);
  const auto buckets = losses.buckets();
  ASSERT_EQ(buckets.size(), 4U);
  EXPECT_EQ(buckets[2].first, 4);
  EXPECT_EQ(buckets[2].last, 7);
  EXPECT_EQ(buckets[2].tokens, 4);
  EXPECT_EQ(buckets[2].mean(), 5.5);
  EXPECT_EQ(buckets[3].tokens, 2);
}

}  // namespace
}  // namespace timepipe
