// Correct kernels give the same bits in every order of threads and blocks.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/hostcuda/run.h"
#include "tests/hostcuda/sample_kernels.cuh"

namespace timepipe::cuda {
namespace {

std::vector<float> random_values(std::size_t n) {
  std::mt19937 random(7);
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(random() % 2001) / 1000 - 1;
  return x;
}

// Small integers: sums of products are exact.
std::vector<bf16> random_integers(int n) {
  std::mt19937 random(static_cast<unsigned>(n));
  std::vector<bf16> x;
  for (int i = 0; i < n; ++i) {
    x.emplace_back(static_cast<float>(random() % 17) - 8);
  }
  return x;
}

class Seeds : public ::testing::TestWithParam<int64_t> {};

TEST_P(Seeds, RmsNormAgreesWithTheDefinitionAndSeedZero) {
  constexpr int kRows = 5, kColumns = 300;
  const std::vector<float> x = random_values(kRows * kColumns);
  std::vector<float> y(x.size(), NAN), first(x.size(), NAN);
  run(0, kRows, 128, kColumns * sizeof(float), rms_norm, first.data(), x.data(),
      kColumns);
  run(GetParam(), kRows, 128, kColumns * sizeof(float), rms_norm, y.data(),
      x.data(), kColumns);
  EXPECT_EQ(y, first);
  for (int n = 0; n < kRows; ++n) {
    double squares = 0;
    for (int c = 0; c < kColumns; ++c) {
      squares += std::pow(double{x[n * kColumns + c]}, 2);
    }
    const double rms = std::sqrt(squares / kColumns + 1e-5);
    for (int c = 0; c < kColumns; ++c) {
      EXPECT_NEAR(y[n * kColumns + c], x[n * kColumns + c] / rms, 1e-6);
    }
  }
}

TEST_P(Seeds, GridSumAgreesWithTheDefinitionAndSeedZero) {
  constexpr int kBlocks = 7, kElements = 4999;
  const std::vector<float> x = random_values(kElements);
  std::vector<float> partial(kBlocks, NAN), first(kBlocks, NAN);
  unsigned long long count = 0, first_count = 0;
  run(0, kBlocks, 256, 0, grid_sum, first.data(), &first_count, x.data(),
      kElements);
  run(GetParam(), kBlocks, 256, 0, grid_sum, partial.data(), &count, x.data(),
      kElements);
  EXPECT_EQ(partial, first);
  EXPECT_EQ(count, kElements);
  double sum = 0, expected = 0;
  for (float p : partial) sum += p;
  for (float v : x) expected += v;
  EXPECT_NEAR(sum, expected, 1e-3);
}

TEST_P(Seeds, GemmAgreesWithTheDefinition) {
  constexpr int M = 45, N = 72, K = 96;
  const std::vector<bf16> A = random_integers(M * K),
                          B = random_integers(K * N);
  std::vector<float> C(M * N, NAN);
  run(GetParam(), (M + 31) / 32 * ((N + 31) / 32), 128, 0,
      gemm<GemmDefect::kNone>, C.data(), A.data(), B.data(), M, N, K);
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) {
      float expected = 0;
      for (int k = 0; k < K; ++k) expected += A[m * K + k] * B[k * N + n];
      ASSERT_EQ(C[m * N + n], expected) << m << ", " << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Seeds, ::testing::ValuesIn(kSeeds));

}  // namespace
}  // namespace timepipe::cuda
