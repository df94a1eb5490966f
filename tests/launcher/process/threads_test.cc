#include "launcher/process/threads.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

namespace timepipe {
namespace {

// A rank with `count` of a host's `of_host` cores, from core `first` on.
RankCores rank(int64_t first, int64_t count, int64_t of_host) {
  RankCores rank;
  rank.cores.host = 1;
  rank.cores.of_host = of_host;
  rank.cores.cores.resize(static_cast<std::size_t>(count));
  std::iota(rank.cores.cores.begin(), rank.cores.cores.end(), first);
  return rank;
}

std::vector<RankCores> ranks_on_all_cores(std::size_t ranks, int64_t cores) {
  return {ranks, rank(0, cores, cores)};
}

TEST(Threads, OneProcessTakesAllCores) {
  const ThreadChoice choice = choose_threads(ranks_on_all_cores(1, 64), 0);
  EXPECT_EQ(choice.threads, 64);
  EXPECT_EQ(choice.reason, "64 cores");
  EXPECT_EQ(choice.warning, "");
}

TEST(Threads, RanksShareTheCoresOfTheirHost) {
  const ThreadChoice choice = choose_threads(ranks_on_all_cores(3, 64), 2);
  EXPECT_EQ(choice.threads, 21);
  EXPECT_EQ(choice.reason, "64 cores shared by 3 ranks");
  EXPECT_EQ(choice.warning, "");
}

TEST(Threads, MoreRanksThanCoresTakeOneEachAndSaySo) {
  const ThreadChoice choice = choose_threads(ranks_on_all_cores(7, 2), 6);
  EXPECT_EQ(choice.threads, 1);
  EXPECT_EQ(choice.reason, "2 cores shared by 7 ranks");
  EXPECT_EQ(choice.warning, "7 threads of 7 ranks take turns on 2 cores");
}

TEST(Threads, RanksOfOtherHostsShareNothing) {
  auto ranks = ranks_on_all_cores(4, 8);
  ranks[2].cores.host = ranks[3].cores.host = 2;
  EXPECT_EQ(choose_threads(ranks, 0).threads, 4);
  ranks[3].cores.host = 3;
  EXPECT_EQ(choose_threads(ranks, 3).threads, 8);
}

TEST(Threads, DisjointCoresAreNotShared) {
  const std::vector<RankCores> ranks = {rank(0, 32, 64), rank(32, 32, 64)};
  for (const int r : {0, 1}) {
    const ThreadChoice choice = choose_threads(ranks, r);
    EXPECT_EQ(choice.threads, 32);
    EXPECT_EQ(choice.reason, "32 of 64 cores");
    EXPECT_EQ(choice.warning, "");
  }
}

TEST(Threads, OverlappingCoresAreDividedByTheRanksThatMeetThere) {
  const std::vector<RankCores> ranks = {rank(0, 4, 8), rank(3, 2, 8),
                                        rank(4, 4, 8)};
  EXPECT_EQ(choose_threads(ranks, 0).threads, 2);
  EXPECT_EQ(choose_threads(ranks, 1).threads, 1);  // 2 cores, 3 ranks
  EXPECT_EQ(choose_threads(ranks, 2).threads, 2);
}

TEST(Threads, RanksBoundToACoreEachNameTheIdleOnes) {
  const std::vector<RankCores> ranks = {rank(0, 1, 64), rank(1, 1, 64)};
  const ThreadChoice choice = choose_threads(ranks, 1);
  EXPECT_EQ(choice.threads, 1);
  EXPECT_EQ(choice.reason, "1 of 64 cores");
  EXPECT_EQ(choice.warning,
            "bound to one core, and 62 of 64 cores have no rank: mpirun "
            "--bind-to none shares all of them");
}

TEST(Threads, RanksBoundToACoreEachThatHaveThemAllAreWell) {
  const std::vector<RankCores> ranks = {rank(0, 1, 2), rank(1, 1, 2)};
  EXPECT_EQ(choose_threads(ranks, 0).warning, "");
}

TEST(Threads, WhatIsAskedIsTakenAndTooMuchIsTold) {
  auto ranks = ranks_on_all_cores(4, 8);
  for (RankCores& rank : ranks) rank.asked = 2;
  EXPECT_EQ(choose_threads(ranks, 0).threads, 2);
  EXPECT_EQ(choose_threads(ranks, 0).reason, "OMP_NUM_THREADS");
  EXPECT_EQ(choose_threads(ranks, 0).warning, "");
  ranks[3].asked = 3;
  EXPECT_EQ(choose_threads(ranks, 0).warning,
            "9 threads of 4 ranks take turns on 8 cores");

  ranks = {rank(5, 1, 64)};
  ranks[0].asked = 8;
  EXPECT_EQ(choose_threads(ranks, 0).threads, 8);
  EXPECT_EQ(choose_threads(ranks, 0).warning,
            "8 threads bound to 1 core of 64: try mpirun --bind-to none, or "
            "--map-by slot:PE=8");
}

TEST(Threads, AControlGroupBoundsAllOfItsRanksTogether) {
  auto ranks = ranks_on_all_cores(1, 64);
  ranks[0].cores.limits = {{.group = 9, .thousandths = 2500}};
  ThreadChoice choice = choose_threads(ranks, 0);
  EXPECT_EQ(choice.threads, 2);
  EXPECT_EQ(choice.reason, "the control group's limit of 2.5 cores");
  EXPECT_EQ(choice.warning, "");

  // Cores of their own, one group for both.
  ranks = {rank(0, 32, 64), rank(32, 32, 64)};
  for (RankCores& rank : ranks) rank.cores.limits = {{9, 8000}};
  choice = choose_threads(ranks, 1);
  EXPECT_EQ(choice.threads, 4);
  EXPECT_EQ(choice.reason,
            "the control group's limit of 8 cores shared by 2 ranks");
  EXPECT_EQ(choice.warning, "");
  ranks[0].cores.limits[0].group = 8;  // a group each
  EXPECT_EQ(choose_threads(ranks, 1).threads, 8);
}

TEST(Threads, OfNestedControlGroupsTheTightestCounts) {
  auto ranks = ranks_on_all_cores(2, 64);
  ranks[0].cores.limits = {{.group = 1, .thousandths = 4000},
                           {.group = 3, .thousandths = 6000}};
  ranks[1].cores.limits = {{.group = 2, .thousandths = 4000},
                           {.group = 3, .thousandths = 6000}};
  EXPECT_EQ(choose_threads(ranks, 0).threads, 3);
}

TEST(Threads, LessThanACoreIsOneThread) {
  auto ranks = ranks_on_all_cores(1, 4);
  ranks[0].cores.limits = {{.group = 1, .thousandths = 250}};
  const ThreadChoice choice = choose_threads(ranks, 0);
  EXPECT_EQ(choice.threads, 1);
  EXPECT_EQ(choice.reason, "the control group's limit of 0.25 cores");
  EXPECT_EQ(choice.warning,
            "1 thread of 1 rank on 0.25 cores, what their control group may "
            "take");
}

TEST(Threads, OutnumberCoresByWhatAProcessKnowsBeforeItMeetsTheOthers) {
  const Cores whole = rank(0, 8, 8).cores, half = rank(0, 4, 8).cores;
  EXPECT_FALSE(threads_outnumber_cores(8, 1, whole));
  EXPECT_TRUE(threads_outnumber_cores(9, 1, whole));
  EXPECT_FALSE(threads_outnumber_cores(2, 4, whole));
  EXPECT_TRUE(threads_outnumber_cores(3, 4, whole));
  EXPECT_FALSE(threads_outnumber_cores(4, 2, half));  // the other has the rest
  EXPECT_TRUE(threads_outnumber_cores(5, 1, half));
  EXPECT_FALSE(threads_outnumber_cores(1, 16, whole));  // wait for nobody
  Cores bounded = whole;
  bounded.limits = {{.group = 1, .thousandths = 2500}};
  EXPECT_FALSE(threads_outnumber_cores(2, 1, bounded));
  EXPECT_TRUE(threads_outnumber_cores(2, 2, bounded));
}

}  // namespace
}  // namespace timepipe
