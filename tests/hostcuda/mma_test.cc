// The products, loads and copies of kernels/cuda/mma.h on the CPU.

#include "kernels/cuda/mma.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/hostcuda/accumulator.h"
#include "tests/hostcuda/mma_kernels.cuh"
#include "tests/hostcuda/run.h"

namespace timepipe::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Products of numbers of all magnitudes, and often of zero.
class Mma : public ::testing::Test {
 protected:
  float value(int exponents) {
    if (random_() % 8 == 0) return 0;
    const auto fraction = static_cast<float>(random_() % 2000001) / 1e6f - 1;
    const int exponent =
        static_cast<int>(random_() % static_cast<unsigned>(2 * exponents + 1)) -
        exponents;
    return std::ldexp(fraction, exponent);
  }

  template <class T>
  std::vector<T> values(int n, int exponents) {
    std::vector<T> x;
    for (int i = 0; i < n; ++i) x.push_back(T(value(exponents)));
    return x;
  }

  std::mt19937 random_{3};
};

// Row m of A and column n of B, K long.
template <class T>
void expect_products(const std::vector<float>& C,
                     const std::vector<float>& start, const std::vector<T>& A,
                     const std::vector<T>& B, int K) {
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      std::vector<float> a, b;
      for (int k = 0; k < K; ++k) {
        a.push_back(A[m * K + k]);
        b.push_back(B[k * 8 + n]);
      }
      const float expected =
          accumulate(start[m * 8 + n], a, b, hostcuda::kMmaFractionBits);
      EXPECT_EQ(C[m * 8 + n], expected) << m << ", " << n;
    }
  }
}

TEST_F(Mma, Bf16AgreesWithTheAccumulatorInIntegers) {
  for (int exponents : {0, 3, 20, 66, 126}) {
    for (int round = 0; round < 20; ++round) {
      const auto A = values<bf16>(16 * 16, exponents);
      const auto B = values<bf16>(16 * 8, exponents);
      const auto start = values<float>(16 * 8, exponents);
      std::vector<float> C = start;
      run(0, 1, 32, 0, multiply_bf16, C.data(), A.data(), B.data());
      expect_products(C, start, A, B, 16);
    }
  }
}

TEST_F(Mma, Tf32AgreesWithTheAccumulatorInIntegers) {
  for (int exponents : {0, 3, 20, 66, 126}) {
    for (int round = 0; round < 20; ++round) {
      auto A = values<float>(16 * 8, exponents);
      auto B = values<float>(8 * 8, exponents);
      const auto start = values<float>(16 * 8, exponents);
      std::vector<float> C = start;
      run(0, 1, 32, 0, multiply_tf32, C.data(), A.data(), B.data());
      for (auto* x : {&A, &B}) {  // What the product doesn't read.
        for (float& v : *x) {
          v = std::bit_cast<float>(std::bit_cast<uint32_t>(v) & 0xffffe000);
        }
      }
      expect_products(C, start, A, B, 8);
    }
  }
}

TEST_F(Mma, TheSumIsCutTowardZero) {
  std::vector<bf16> A(16 * 16, bf16(0.f)), B(16 * 8, bf16(0.f));
  A[0] = bf16(1.f);
  B[0] = bf16(0x1.8p-24f);  // More than half of what 1 can tell apart.
  for (float sign : {1.f, -1.f}) {
    std::vector<float> C(16 * 8, sign);
    A[0] = bf16(sign);
    run(0, 1, 32, 0, multiply_bf16, C.data(), A.data(), B.data());
    EXPECT_EQ(C[0], sign);
  }
}

TEST_F(Mma, NanAndInfinityReachTheirElementsOnly) {
  std::vector<bf16> A(16 * 16, bf16(1.f)), B(16 * 8, bf16(1.f));
  A[3 * 16 + 5] = bf16(kInfinity);
  B[7 * 8 + 2] = bf16(NAN);
  std::vector<float> C(16 * 8, 0);
  run(0, 1, 32, 0, multiply_bf16, C.data(), A.data(), B.data());
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      if (n == 2) {
        EXPECT_TRUE(std::isnan(C[m * 8 + n]));
      } else {
        EXPECT_EQ(C[m * 8 + n], m == 3 ? kInfinity : 16);
      }
    }
  }
}

TEST(Tf32, RoundsToNearestTiesAwayFromZero) {
  for (float sign : {1.f, -1.f}) {
    EXPECT_EQ(__uint_as_float(round_to_tf32(sign * (1 + 0x1p-11f))),
              sign * (1 + 0x1p-10f));
    EXPECT_EQ(__uint_as_float(
                  round_to_tf32(sign * std::nextafter(1 + 0x1p-11f, 0.f))),
              sign);
    EXPECT_EQ(__uint_as_float(round_to_tf32(sign * kInfinity)),
              sign * kInfinity);
  }
  EXPECT_TRUE(std::isnan(__uint_as_float(round_to_tf32(NAN))));
  EXPECT_TRUE(
      std::isnan(__uint_as_float(round_to_tf32(__uint_as_float(0x7f800001)))));
}

TEST(Ldmatrix, GivesEachLaneItsElements) {
  std::vector<bf16> matrices(4 * 64);
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    matrices[i].bits = static_cast<uint16_t>(i);
  }
  for (bool transposes : {false, true}) {
    std::vector<uint32_t> out(32 * 4);
    run(0, 1, 32, 0, load, out.data(), matrices.data(), transposes);
    for (uint32_t l = 0; l < 32; ++l) {
      for (uint32_t m = 0; m < 4; ++m) {
        const uint32_t row = l / 4, column = 2 * (l % 4);
        const uint32_t low =
            64 * m + (transposes ? 8 * column + row : 8 * row + column);
        const uint32_t high = low + (transposes ? 8 : 1);
        EXPECT_EQ(out[4 * l + m], low | high << 16);
      }
    }
  }
}

TEST(CpAsync, CopiesWhenItIsWaitedFor) {
  std::vector<unsigned char> in(48);
  for (std::size_t i = 0; i < in.size(); ++i) {
    in[i] = static_cast<unsigned char>(i + 1);
  }
  for (bool is_there : {true, false}) {
    std::vector<unsigned char> out(96);
    run(0, 1, 1, 0, copy_in_groups, out.data(), in.data(), is_there);
    for (std::size_t i = 0; i < 48; ++i) {
      const int copied = is_there ? in[i] : 0;
      EXPECT_EQ(out[i], i < 32 ? copied : 0xff) << i;
      EXPECT_EQ(out[48 + i], copied) << i;
    }
  }
}

}  // namespace
}  // namespace timepipe::cuda
