#include "tests/support/throws.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace timepipe::testing {
namespace {

using ::testing::Not;

TEST(Throws, MatchesTypeAndMessage) {
  const auto call = [] { throw std::out_of_range("row 3 of 2"); };
  EXPECT_THAT(call, throws<std::out_of_range>("row 3 of 2"));
  EXPECT_THAT(call, throws<std::logic_error>(::testing::HasSubstr("3 of")));
  EXPECT_THAT(call, Not(throws<std::out_of_range>("row 3")));
  EXPECT_THAT(call, Not(throws<std::range_error>("row 3 of 2")));
  EXPECT_THAT([] {}, Not(throws<std::exception>(::testing::_)));
  EXPECT_THAT([] { throw 3; }, Not(throws<std::exception>(::testing::_)));
}

TEST(Throws, RefusesIsInvalidArgument) {
  EXPECT_THAT([] { throw InvalidArgument("x: 3"); }, refuses("x: 3"));
  EXPECT_THAT([] { throw InvalidArgument("x: 3"); }, Not(refuses("y")));
  EXPECT_THAT([] { throw IoError("x: 3"); }, Not(refuses("x: 3")));
}

}  // namespace
}  // namespace timepipe::testing
