#include "launcher/run/memory_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/threads.h"

namespace timepipe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int64_t kGiB = int64_t{1} << 30;

// Of a host without control groups.
RankMemory rank(uint64_t host, int64_t needed, int64_t available) {
  return {host, needed * kGiB, {{0, available * kGiB}}};
}

TEST(MemoryShortage, AddsUpTheRanksOfAHost) {
  EXPECT_EQ(memory_shortage({rank(7, 3, 8)}), "");
  EXPECT_EQ(memory_shortage({rank(7, 4, 8), rank(7, 4, 8)}), "");
  EXPECT_THAT(memory_shortage({rank(7, 4, 9), rank(7, 5, 8)}),
              AllOf(HasSubstr("2 rank(s) of the host of rank 0 need 9.00 GiB"),
                    HasSubstr("8.00 GiB"), HasSubstr("1.00 GiB too much")));
}

TEST(MemoryShortage, NamesTheHostThatMissesMost) {
  EXPECT_EQ(memory_shortage({rank(1, 5, 8), rank(2, 5, 8)}), "");
  EXPECT_THAT(memory_shortage({rank(1, 9, 8), rank(2, 12, 8)}),
              AllOf(HasSubstr("host of rank 1 need 12.00 GiB"),
                    HasSubstr("4.00 GiB too much")));
}

// Two containers of a host: a limit for each, and the host for both.
TEST(MemoryShortage, AddsUpTheRanksOfAControlGroup) {
  const auto in_group = [](uint64_t group, int64_t needed, int64_t limit) {
    RankMemory memory = rank(7, needed, 16);
    memory.limits.push_back({group, limit * kGiB});
    return memory;
  };
  EXPECT_EQ(memory_shortage({in_group(1, 5, 6), in_group(2, 9, 10)}), "");
  EXPECT_THAT(
      memory_shortage(
          {in_group(1, 5, 6), in_group(2, 4, 7), in_group(2, 4, 7)}),
      AllOf(HasSubstr("2 rank(s) of the control group of rank 1 need 8.00 GiB"),
            HasSubstr("the 7.00 GiB that its limit leaves: 1.00 GiB too")));
  EXPECT_THAT(memory_shortage({in_group(1, 8, 9), in_group(2, 9, 10)}),
              HasSubstr("2 rank(s) of the host of rank 0 need 17.00 GiB"));
}

// Two devices of a host, one of them shared.
TEST(MemoryShortage, AddsUpTheRanksOfADevice) {
  const auto on_device = [](uint64_t id, int64_t needed, int64_t available) {
    RankMemory memory = rank(7, 1, 16);
    memory.device = {id, needed * kGiB, available * kGiB};
    return memory;
  };
  EXPECT_EQ(memory_shortage({on_device(0, 8, 8), on_device(1, 6, 8)}), "");
  EXPECT_THAT(
      memory_shortage(
          {on_device(0, 8, 8), on_device(1, 5, 9), on_device(1, 4, 8)}),
      AllOf(HasSubstr("2 rank(s) of the device of rank 1 need 9.00 GiB"),
            HasSubstr("the 8.00 GiB that it has available: 1.00 GiB too")));
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
