#include "launcher/run/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/threads.h"

namespace timepipe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(MemoryShortage, AddsUpTheRanksOfAHost) {
  EXPECT_EQ(memory_shortage({{7, 3 * kGiB, 8 * kGiB}}), "");
  EXPECT_EQ(memory_shortage({{7, 4 * kGiB, 8 * kGiB}, {7, 4 * kGiB, 8 * kGiB}}),
            "");
  EXPECT_THAT(
      memory_shortage({{7, 4 * kGiB, 9 * kGiB}, {7, 5 * kGiB, 8 * kGiB}}),
      AllOf(HasSubstr("2 rank(s) of the host of rank 0 need 9.00 GiB"),
            HasSubstr("8.00 GiB"), HasSubstr("1.00 GiB too much")));
}

TEST(MemoryShortage, NamesTheHostThatMissesMost) {
  EXPECT_EQ(memory_shortage({{1, 5 * kGiB, 8 * kGiB}, {2, 5 * kGiB, 8 * kGiB}}),
            "");
  EXPECT_THAT(
      memory_shortage({{1, 9 * kGiB, 8 * kGiB}, {2, 12 * kGiB, 8 * kGiB}}),
      AllOf(HasSubstr("host of rank 1 need 12.00 GiB"),
            HasSubstr("4.00 GiB too much")));
}

TEST(MemoryAdvice, IsAboutWhatThereIsMostOf) {
  EXPECT_THAT(memory_advice({.weights = 1, .borders = 2}),
              AllOf(HasSubstr("borders"), HasSubstr("larger train.chunk_")));
  EXPECT_THAT(memory_advice({.activations = 3, .borders = 2}),
              AllOf(HasSubstr("activations"), HasSubstr("train.hot_rounds")));
  EXPECT_THAT(memory_advice({.optimizer = 3, .borders = 2}),
              HasSubstr("parallel.time"));
  EXPECT_THAT(memory_advice({.gradient_sums = 3}), HasSubstr("fewer ranks"));
}

TEST(RequireMemory, AllRanksStopTogether) {
  constexpr int64_t kTooMuch = int64_t{1} << 60;
  run_thread_ranks(3, [&](Communicator& world) {
    EXPECT_NO_THROW(require_memory(world, {.weights = 1}));
    const int64_t bytes = world.rank() == 1 ? kTooMuch : 1;
    EXPECT_THROW(require_memory(world, {.weights = bytes}), InvalidArgument);
  });
}

}  // namespace
}  // namespace timepipe::testing
