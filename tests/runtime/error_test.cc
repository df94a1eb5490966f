#include "runtime/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace timepipe {
namespace {

struct Counted {
  int* texts;
};
std::string to_string(Counted counted) {
  ++*counted.texts;
  return "counted";
}

TEST(Require, TextIsThatOfItsParts) {
  int texts = 0;
  const std::string name = "x";
  try {
    require(false, name, ": shape ", Shape{4, 8}, ", ", Counted{&texts},
            std::string_view(", expected "), int64_t{-3}, " or ", 0.5);
    FAIL() << "no exception";
  } catch (const InvalidArgument& error) {
    EXPECT_STREQ(error.what(),
                 "x: shape [4,8], counted, expected -3 or 0.500000");
  }
  EXPECT_EQ(texts, 1);
}

TEST(Require, MakesNoTextIfTheConditionHolds) {
  int texts = 0;
  require(true, Counted{&texts});
  EXPECT_EQ(texts, 0);
}

}  // namespace
}  // namespace timepipe
