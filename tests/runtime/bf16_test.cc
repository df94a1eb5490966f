#include "runtime/bf16.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

namespace timepipe {
namespace {

TEST(RoundToBf16, NearestTiesToEven) {
  EXPECT_EQ(round_to_bf16(1.0F), 0x3f80);
  EXPECT_EQ(round_to_bf16(std::bit_cast<float>(0x3f808000U)), 0x3f80);
  EXPECT_EQ(round_to_bf16(std::bit_cast<float>(0x3f818000U)), 0x3f82);
  EXPECT_EQ(round_to_bf16(std::bit_cast<float>(0x3f808001U)), 0x3f81);
  EXPECT_EQ(round_to_bf16(std::bit_cast<float>(0x7f7fffffU)), 0x7f80);
  EXPECT_EQ(round_to_bf16(std::bit_cast<float>(0x7f800001U)), 0x7fc0);
  EXPECT_EQ(round_to_bf16(-0.0F), 0x8000);
}

// Just above a tie of bf16, where f32 would round to the tie.
TEST(RoundToBf16, OfF64IsRoundedOnce) {
  EXPECT_EQ(round_to_bf16(1 + 0x1p-8 + 0x1p-40), 0x3f81);
  EXPECT_EQ(round_to_bf16(-1 - 0x1p-8 - 0x1p-40), 0xbf81);
  EXPECT_EQ(round_to_bf16(1 + 0x1p-8 - 0x1p-40), 0x3f80);
  EXPECT_EQ(round_to_bf16(1 + 0x1p-7 + 0x1p-8 - 0x1p-40), 0x3f81);
  EXPECT_EQ(round_to_bf16(1 + 0x1p-8), 0x3f80);
  EXPECT_EQ(round_to_bf16(0x1p-134 + 0x1p-160), 0x0001);
  EXPECT_EQ(round_to_bf16(-1e-300), 0x8000);
  EXPECT_EQ(round_to_bf16(1e300), 0x7f80);
  EXPECT_EQ(round_to_bf16(std::numeric_limits<double>::quiet_NaN()), 0x7fc0);
}

}  // namespace
}  // namespace timepipe
