#include "runtime/termination.h"

#include <gtest/gtest.h>

#include <csignal>

namespace timepipe {
namespace {

TEST(RepeatsRequest, IsTheSameSignalSoonAfter) {
  EXPECT_TRUE(repeats_request(SIGUSR1, SIGUSR1, 0));
  EXPECT_TRUE(repeats_request(SIGUSR1, SIGUSR1, 4.9));
  EXPECT_FALSE(repeats_request(SIGUSR1, SIGUSR1, 5));
  EXPECT_FALSE(repeats_request(SIGUSR1, SIGTERM, 0));
  EXPECT_TRUE(repeats_request(SIGXCPU, SIGXCPU, 60));  // the kernel's, again
  EXPECT_FALSE(repeats_request(SIGXCPU, SIGTERM, 0));
}

TEST(NameOfSignal, OfThoseThatEndARun) {
  EXPECT_STREQ(name_of_signal(SIGHUP), "SIGHUP");
  EXPECT_STREQ(name_of_signal(SIGXCPU), "SIGXCPU");
  EXPECT_STREQ(name_of_signal(SIGUSR2), "SIGUSR2");
  EXPECT_STREQ(name_of_signal(SIGCHLD), "a signal");
}

}  // namespace
}  // namespace timepipe
