// Threads, barriers and shared memory of a block.

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "tests/hostcuda/block_kernels.cuh"
#include "tests/hostcuda/run.h"

namespace timepipe::cuda {
namespace {

class Block : public ::testing::TestWithParam<int64_t> {};

TEST_P(Block, EachThreadOfEachBlockRunsOnceAndKnowsItsPlace) {
  const dim3 blocks(3, 2, 4), threads(5, 3, 7);
  std::vector<Seen> seen(24 * 105);
  hostcuda::run_grid(
      "see", {blocks, threads, 0}, [&] { see(seen.data()); }, GetParam());
  const Seen* s = seen.data();
  for (unsigned b = 0; b < 24; ++b) {
    for (unsigned t = 0; t < 105; ++t, ++s) {
      EXPECT_EQ(s->calls, 1u);
      EXPECT_EQ(s->thread.x + 5 * (s->thread.y + 3 * s->thread.z), t);
      EXPECT_EQ(s->block.x + 3 * (s->block.y + 2 * s->block.z), b);
      EXPECT_EQ(s->block_dim.z, 7u);
      EXPECT_EQ(s->grid_dim.z, 4u);
    }
  }
}

TEST_P(Block, NoThreadPassesABarrierBeforeAllHaveComeToIt) {
  for (unsigned threads : {1u, 31u, 32u, 33u, 256u, 1024u}) {
    int wrong = 0;
    run(GetParam(), 3, threads, 0, count_at_barriers, &wrong, 5);
    EXPECT_EQ(wrong, 0) << threads;
  }
}

TEST_P(Block, SharedArraysAreOfTheBlock) {
  int wrong = 0;
  run(GetParam(), 4, 96, 7 * sizeof(float), use_shared<float>, &wrong, 7);
  run(GetParam(), 4, 96, 3 * sizeof(double), use_shared<double>, &wrong, 3);
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Orders, Block, ::testing::ValuesIn(kSeeds));

TEST(Engine, RunsGridsOnSeveralOsThreadsAtOnce) {
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& w : wrong) {
    threads.emplace_back([&w] {
      for (int64_t seed : kSeeds) {
        run(seed, 5, 128, 0, count_at_barriers, &w, 5);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Engine, GridOfNoBlocksRunsNothing) {
  int wrong = 0;
  run(0, 0, 128, 0, count_at_barriers, &wrong, 5);
  EXPECT_EQ(wrong, 0);
}

TEST(Device, RoundsToNearestIntegerTiesToEven) {
  EXPECT_EQ(__double2ll_rn(2.5), 2);
  EXPECT_EQ(__double2ll_rn(-3.5), -4);
  EXPECT_EQ(__double2ll_rn(0x1p52 + 1), (int64_t{1} << 52) + 1);
  EXPECT_EQ(__double2ll_rn(1e30), INT64_MAX);
  EXPECT_EQ(__double2ll_rn(-1e30), INT64_MIN);
}

}  // namespace
}  // namespace timepipe::cuda
