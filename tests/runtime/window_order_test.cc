#include "runtime/window_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "runtime/error.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::throws;

std::vector<int64_t> epoch(const WindowOrder& order, int64_t number) {
  std::vector<int64_t> first_tokens;
  for (int64_t i = 0; i < order.num_windows(); ++i) {
    first_tokens.push_back(order.first_token(number * order.num_windows() + i));
  }
  return first_tokens;
}

TEST(WindowOrder, CountsOnlyWindowsWithTheirLastLabel) {
  EXPECT_EQ(WindowOrder(9, 4, 1).num_windows(), 2);
  EXPECT_EQ(WindowOrder(8, 4, 1).num_windows(), 1);
  EXPECT_EQ(WindowOrder(5, 4, 1).num_windows(), 1);
  EXPECT_EQ(WindowOrder(2, 1, 1).num_windows(), 1);
}

TEST(WindowOrder, EveryEpochVisitsEachWindowOnceInANewOrder) {
  const WindowOrder order(4 * 50 + 1, 4, /*seed=*/7);
  std::set<std::vector<int64_t>> orders;
  for (int64_t number = 0; number < 3; ++number) {
    const std::vector<int64_t> visits = epoch(order, number);
    std::set<int64_t> expected;
    for (int64_t i = 0; i < 50; ++i) expected.insert(4 * i);
    EXPECT_EQ(std::set(visits.begin(), visits.end()), expected);
    orders.insert(visits);
  }
  EXPECT_EQ(orders.size(), 3u);
}

TEST(WindowOrder, IsAFunctionOfTheSeed) {
  const WindowOrder order(201, 4, 7);
  EXPECT_EQ(epoch(order, 1), epoch(WindowOrder(201, 4, 7), 1));
  EXPECT_NE(epoch(order, 1), epoch(WindowOrder(201, 4, 8), 1));
}

TEST(WindowOrder, RefusesFilesShorterThanAWindow) {
  EXPECT_THAT([] { WindowOrder(128, 128, 1); },
              throws<InvalidArgument>(
                  AllOf(HasSubstr("tokens: 128"), HasSubstr("of 128"))));
  EXPECT_THROW(WindowOrder(0, 1, 1), InvalidArgument);
  EXPECT_THROW(WindowOrder(10, 0, 1), InvalidArgument);
  EXPECT_THROW(WindowOrder(10, 2, 1).first_token(-1), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
