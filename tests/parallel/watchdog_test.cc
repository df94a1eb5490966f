#include "parallel/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "runtime/error.h"
#include "runtime/termination.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using testing::throws;

constexpr double kNever = 1e9;

class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest() {
    for (int i = 0; i < 3; ++i) {
      watchdog_.expect({[this, i] { return over_.at(i); }, 7,
                        "operation " + std::to_string(i)});
    }
  }

  // With a deadline that has passed, or one that never does.
  void look_late() { watchdog_.look(-1); }
  void look() { watchdog_.look(kNever); }

  std::array<bool, 3> over_{};
  Watchdog watchdog_;
};

TEST_F(WatchdogTest, NamesTheOldestOfWhatIsntOver) {
  set_current_step(4);
  over_[1] = true;
  EXPECT_THAT([&] { look_late(); },
              throws<Blocked>("rank 7, step 4: waited -1 s for operation 0"));
  over_[0] = true;
  EXPECT_THAT([&] { look_late(); },
              throws<Blocked>(HasSubstr("for operation 2")));
  over_[2] = true;
  look_late();
  EXPECT_TRUE(watchdog_.expects_nothing());
  look_late();
}

// It looks again and again: the deadline of one begins when those before it
// are over.
TEST_F(WatchdogTest, IsPatientBeforeTheDeadline) {
  for (bool& over : over_) {
    look();
    EXPECT_FALSE(watchdog_.expects_nothing());
    over = true;
  }
  look();
  EXPECT_TRUE(watchdog_.expects_nothing());
}

TEST_F(WatchdogTest, WaitingPollsUntilAllIsOver) {
  set_activity("computing");
  int polls = 0;
  watchdog_.wait([&] {
    EXPECT_EQ(activity(), "waiting for operation 0");
    over_.at(polls++) = true;
    look();
  });
  EXPECT_EQ(polls, 3);
  EXPECT_EQ(activity(), "computing");
  watchdog_.wait([] { FAIL() << "there is nothing to wait for"; });
}

TEST_F(WatchdogTest, AWaitThatFailsExpectsNothingMore) {
  EXPECT_THAT([&] { watchdog_.wait([&] { look_late(); }); },
              throws<Blocked>(StartsWith("rank 7, ")));
  EXPECT_TRUE(watchdog_.expects_nothing());
  EXPECT_EQ(activity(), "waiting for operation 0");
}

}  // namespace
}  // namespace timepipe
