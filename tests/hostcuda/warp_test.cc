// What the lanes of a warp do together.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/hostcuda/block_kernels.cuh"
#include "tests/hostcuda/run.h"

namespace timepipe::cuda {
namespace {

constexpr unsigned kThreads = 64;

template <class T>
class Shuffle : public ::testing::Test {};
using Types = ::testing::Types<int, unsigned, int64_t, float, double>;
TYPED_TEST_SUITE(Shuffle, Types);

// The lane that the k-th shuffle reads on lane l.
unsigned source(int k, unsigned l) {
  switch (k) {
    case 0:
      return l * 7 % 32;
    case 1:
      return l / 8 * 8 + 1;
    case 2:
      return l ^ 5;
    case 3:
      return l + 3 < 32 ? l + 3 : l;
    case 4:
      return l % 8 + 3 < 8 ? l + 3 : l;
    case 5:
      return l >= 3 ? l - 3 : l;
    default:
      return l % 8 >= 3 ? l - 3 : l;
  }
}

TYPED_TEST(Shuffle, GivesTheValueOfTheLaneThatIsAskedFor) {
  std::vector<TypeParam> value, out(kShuffles * kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    value.push_back(static_cast<TypeParam>(t * 1000003u));
  }
  for (int64_t seed : kSeeds) {
    run(seed, 1, kThreads, 0, shuffle_values<TypeParam>, out.data(),
        value.data());
    for (int k = 0; k < kShuffles; ++k) {
      for (unsigned t = 0; t < kThreads; ++t) {
        EXPECT_EQ(out[static_cast<unsigned>(k) * kThreads + t],
                  value[t / 32 * 32 + source(k, t % 32)])
            << k << ", " << t;
      }
    }
  }
}

class Warp : public ::testing::TestWithParam<int64_t> {};

TEST_P(Warp, HalvesShuffleOnTheirOwn) {
  std::vector<int> out(32);
  run(GetParam(), 1, 32, 0, shuffle_in_halves, out.data());
  for (int t = 0; t < 16; ++t) {
    EXPECT_EQ(out[static_cast<unsigned>(t)], ((t + 16) ^ 2) + 100);
    EXPECT_EQ(out[static_cast<unsigned>(t + 16)], (t ^ 1) + 5);
  }
}

TEST_P(Warp, LanesHandOnValuesThroughSharedMemory) {
  std::vector<int> out(64);
  run(GetParam(), 1, 64, 0, pass_through_shared, out.data(), 5);
  for (int t = 0; t < 64; ++t) {
    EXPECT_EQ(out[static_cast<unsigned>(t)], t / 32 * 32 + (t + 5) % 32);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Warp, ::testing::ValuesIn(kSeeds));

template <class T>
class Reduction : public ::testing::Test {};
using Floats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Reduction, Floats);

TYPED_TEST(Reduction, HasTheBitsOfFiveShuffles) {
  std::vector<TypeParam> value, out(4 * kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    value.push_back(std::sin(static_cast<TypeParam>(t)) *
                    std::pow(TypeParam{10}, static_cast<TypeParam>(t % 9)));
  }
  value[40] = NAN;
  run(0, 1, kThreads, 0, reduce<TypeParam>, out.data(), value.data());
  for (unsigned t = 0; t < 32; ++t) {
    EXPECT_EQ(out[t], out[kThreads + t]);
    EXPECT_EQ(out[2 * kThreads + t], out[3 * kThreads + t]);
  }
  for (unsigned t = 32; t < 64; ++t) {  // A sum of NaN, a maximum without.
    EXPECT_TRUE(std::isnan(out[t]) && std::isnan(out[kThreads + t]));
    EXPECT_EQ(out[2 * kThreads + t], out[3 * kThreads + t]);
  }
}

}  // namespace
}  // namespace timepipe::cuda
