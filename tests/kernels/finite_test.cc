#include "kernels/finite.h"

#include <limits>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

TEST(AllFinite, SeesOneThatIsNotWhereverItIs) {
  TestContext ctx;
  constexpr int64_t kElements = 70'000;
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor x = normal(ctx, 1, {kElements}, dtype);
    EXPECT_TRUE(all_finite(ctx, x));
    for (const int64_t i : {int64_t{0}, kElements / 2, kElements - 1}) {
      for (const double bad : {std::nan(""), kInfinity, -kInfinity}) {
        fill(ctx, bad, x.slice(i, i + 1));
        EXPECT_FALSE(all_finite(ctx, x)) << bad << " at " << i;
      }
      fill(ctx, 0, x.slice(i, i + 1));
    }
  }
}

TEST(AllFinite, TakesTheLargestAndTheEmpty) {
  TestContext ctx;
  EXPECT_TRUE(all_finite(
      ctx, filled(ctx, std::numeric_limits<double>::max(), {3}, DType::kF64)));
  EXPECT_TRUE(all_finite(ctx, Tensor()));
  EXPECT_THAT([&] { all_finite(ctx, from_ids(ctx, {1})); },
              refuses("x: dtype i64"));
}

}  // namespace
}  // namespace timepipe
