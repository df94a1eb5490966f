// Errors in kernels that are found without a sanitizer: because the program
// ends with a line that says so, or because the result is wrong in one of five
// orders of threads. planted.sh has those that a sanitizer finds.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/hostcuda/planted_kernels.cuh"
#include "tests/hostcuda/run.h"
#include "tests/hostcuda/sample_kernels.cuh"

namespace timepipe::cuda {
namespace {

constexpr unsigned kBlocks = 3, kThreads = 128, kAll = kBlocks * kThreads;

std::vector<float> numbers(std::size_t n) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(i);
  return x;
}

// How many of the orders give the right values.
template <class Run, class Check>
int right_orders(Run run_with, Check is_right) {
  int right = 0;
  for (int64_t seed : kSeeds) {
    std::vector<float> out(kAll, NAN);
    run_with(seed, out.data());
    right += is_right(out);
  }
  return right;
}

constexpr int kOrders = std::size(kSeeds);

using Kernel = void (*)(float*, const float*);

// out[t] is what `expected(t)` says, of t's place in the grid.
template <class Expected>
int right_orders_of(Kernel kernel, Expected expected) {
  const std::vector<float> in = numbers(kAll);
  return right_orders(
      [&](int64_t seed, float* out) {
        run(seed, kBlocks, kThreads, 0, kernel, out, in.data());
      },
      [&](const std::vector<float>& out) {
        for (unsigned t = 0; t < kAll; ++t) {
          if (out[t] != static_cast<float>(expected(t))) return false;
        }
        return true;
      });
}

unsigned next_warps(unsigned t) {
  return t / kThreads * kThreads + (t + 32) % kThreads;
}

TEST(Planted, NoBarrierAfterAWriteGivesWrongValues) {
  EXPECT_LT(right_orders_of(no_barrier_after_write<true>, next_warps), kOrders);
  EXPECT_EQ(right_orders_of(no_barrier_after_write<false>, next_warps),
            kOrders);
}

TEST(Planted, NoBarrierBeforeReuseGivesWrongValues) {
  const auto twice = [](unsigned t) { return 2 * next_warps(t) + 1; };
  EXPECT_LT(right_orders_of(no_barrier_before_reuse<true>, twice), kOrders);
  EXPECT_EQ(right_orders_of(no_barrier_before_reuse<false>, twice), kOrders);
}

TEST(Planted, NoWarpBarrierGivesWrongValues) {
  const auto neighbours = [](unsigned t) { return t ^ 1; };
  EXPECT_LT(right_orders_of(no_warp_barrier<true>, neighbours), kOrders);
  EXPECT_EQ(right_orders_of(no_warp_barrier<false>, neighbours), kOrders);
}

TEST(Planted, BlocksThatWriteOnePlaceDoSoInAnyOrder) {
  const std::vector<float> in = numbers(kAll);
  const int last = right_orders(
      [&](int64_t seed, float* out) {
        run(seed, kBlocks, kThreads, 0, blocks_write_one_place, out, in.data());
      },
      [&](const std::vector<float>& out) {
        return out[0] == (kBlocks - 1) * kThreads;
      });
  EXPECT_LT(last, kOrders);
}

template <GemmDefect kDefect>
int right_products() {
  constexpr int M = 24, N = 16, K = 64;
  static_assert(M * N == kAll);
  const std::vector<bf16> ones(kAll * K, bf16(1.f));
  return right_orders(
      [&](int64_t seed, float* out) {
        run(seed, 1, 128, 0, gemm<kDefect>, out, ones.data(), ones.data(), M, N,
            K);
      },
      [&](const std::vector<float>& out) {
        for (float v : out) {
          if (v != K) return false;
        }
        return true;
      });
}

TEST(Planted, AWaitForTooFewCopiesGivesWrongValues) {
  EXPECT_EQ(right_products<GemmDefect::kNone>(), kOrders);
  EXPECT_EQ(right_products<GemmDefect::kWaitsForTooFew>(), 0);
}

TEST(Planted, NoBarrierAtTheEndOfAPipelinedLoopGivesWrongValues) {
  EXPECT_LT(right_products<GemmDefect::kNoBarrierAtLoopEnd>(), kOrders);
}

class PlantedDeathTest : public ::testing::TestWithParam<int64_t> {
 protected:
  // Runs it with the arguments out and in, in one block of 64.
  template <class K, class... A>
  void one_block(K kernel, A... arguments) {
    run(GetParam(), 1, 64, 64 * sizeof(float), kernel, arguments...);
  }

  std::vector<float> out_ = std::vector<float>(64, 0), in_ = numbers(64);
  float* const out = out_.data();
  const float* const in = in_.data();
};

TEST_P(PlantedDeathTest, ExitBeforeABarrier) {
  EXPECT_DEATH(
      one_block(exit_before_barrier),
      "^hostcuda: kernel test, block \\(0,0,0\\): no thread can go on: "
      "1 exited, 63 wait at __syncthreads of "
      ".*planted_kernels.cu:[0-9]+\n");
}

TEST_P(PlantedDeathTest, BarriersInBothBranches) {
  EXPECT_DEATH(one_block(barriers_in_both_branches),
               "is at __syncthreads of .*planted_kernels.cu:[0-9]+, other "
               "threads at that of .*planted_kernels.cu:[0-9]+\n");
}

TEST_P(PlantedDeathTest, BarrierInHalfAWarp) {
  EXPECT_DEATH(one_block(barrier_in_half_a_warp),
               "no thread can go on: 0 exited, 32 wait at __syncthreads of "
               ".*:[0-9]+, 16 wait at __syncwarp of .*:[0-9]+, 16 wait at "
               "__syncwarp of .*:[0-9]+\n");
}

TEST_P(PlantedDeathTest, ExitBeforeAShuffle) {
  EXPECT_DEATH(
      one_block(exit_before_shuffle, out),
      "(but lanes 0x00000008 of the mask 0xffffffff have exited|exits, "
      "but lanes 0x[0-9a-f]* wait for it in __shfl_xor_sync)");
}

TEST_P(PlantedDeathTest, ExitWhileTheWarpWaits) {
  EXPECT_DEATH(one_block(exit_while_warp_waits, out),
               "(exits, but lanes 0x[0-9a-f]* wait for it in warp_sum at "
               ".*:[0-9]+|but lanes 0x80000000 of the mask 0xffffffff have "
               "exited)");
}

TEST_P(PlantedDeathTest, ShuffleWithoutItsCallerInTheMask) {
  EXPECT_DEATH(one_block(shuffle_without_caller_in_mask, out),
               "is not in the mask 0x0000ffff of its __shfl_xor_sync of "
               ".*planted_kernels.cu:[0-9]+");
}

TEST_P(PlantedDeathTest, ShuffleFromALaneOutsideTheMask) {
  EXPECT_DEATH(one_block(shuffle_from_lane_outside_mask, out),
               "asks for lane 20, which is not in the mask 0x0000ffff");
}

TEST_P(PlantedDeathTest, ShufflesOfDifferentPlaces) {
  EXPECT_DEATH(one_block(shuffles_of_different_places, out),
               "is in __shfl_xor_sync \\(mask 0xffffffff\\) of "
               ".*planted_kernels.cu:[0-9]+, lanes 0x[0-9a-f]* of its warp in "
               "__shfl_xor_sync");
}

TEST_P(PlantedDeathTest, ExitBeforeCopiesAreThere) {
  EXPECT_DEATH(one_block(exit_before_copies_are_there, out, in),
               "exits before it has waited for its copies");
}

TEST_P(PlantedDeathTest, CopyToAnOddPlace) {
  EXPECT_DEATH(one_block(copy_to_odd_place, in), "cp.async of 16 bytes from");
}

TEST_P(PlantedDeathTest, TooMuchStaticMemory) {
  EXPECT_DEATH(one_block(too_much_static_memory, out),
               "49156 bytes of static shared memory, more than 49152");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST_P(PlantedDeathTest, WritesPastASharedArray) {
  EXPECT_DEATH(one_block(write_past_dynamic, out, in),
               "block \\(0,0,0\\): a write outside of a shared array "
               "\\(256 bytes\\)");
  std::vector<float> all(128);
  EXPECT_DEATH(run(GetParam(), 1, 128, 0, write_past_static, all.data(),
                   numbers(128).data()),
               "a write outside of a shared array \\(512 bytes\\)");
}

TEST_P(PlantedDeathTest, ReadsPastASharedArrayGiveNan) {
  one_block(read_past_dynamic, out, in);
  EXPECT_TRUE(std::isnan(out[63]));
}
#endif

INSTANTIATE_TEST_SUITE_P(Orders, PlantedDeathTest, ::testing::ValuesIn(kSeeds));

TEST(EngineDeathTest, BlocksOfTooManyThreads) {
  EXPECT_DEATH(run(0, 1, 1025, 0, exit_before_barrier), "1025 threads");
  EXPECT_DEATH(run(0, 1, 32, (227 << 10) + 1, exit_before_barrier),
               "232449 bytes of dynamic shared memory");
}

TEST(EngineDeathTest, AKernelThatStartsAKernel) {
  EXPECT_DEATH(hostcuda::run_grid("outer", {dim3(1), dim3(1), 0},
                                  [] { run(0, 1, 1, 0, exit_before_barrier); }),
               "kernel outer, .* starts the kernel test");
}

}  // namespace
}  // namespace timepipe::cuda
