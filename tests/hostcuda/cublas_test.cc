#include <cublas_v2.h>
#include <gtest/gtest.h>
#include <hostcuda/cublas.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <tuple>
#include <vector>

#include "tests/hostcuda/modes.h"
#include "tests/hostcuda/operand.h"

namespace hostcuda {
namespace {

enum class Form { kNN, kNT, kTN };

// What one mode of the products reads, sums and writes.
struct Precision {
  const char* name;
  cudaDataType operands, result;
  cublasComputeType_t compute;
  double operand_eps, sum_eps, result_eps;  // Relative rounding of each.
};

constexpr Precision kF32{"f32", CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F,
                         0,     0x1p-24,    0x1p-24};
constexpr Precision kTf32{
    "tf32",  CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
    0x1p-11, 0x1p-24,    0x1p-24};
constexpr Precision kBf16{"bf16", CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F,
                          0,      0x1p-24,     0x1p-8};
constexpr Precision kBf16ToF32{
    "bf16_f32", CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F,
    0,          0x1p-24,     0x1p-24};
constexpr Precision kF64{"f64", CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_64F,
                         0,     0x1p-53,    0x1p-53};

class Cublas : public Modes {
 protected:
  void SetUp() override {
    Modes::SetUp();
    ASSERT_EQ(cublasCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasSetStream(handle_, stream_), CUBLAS_STATUS_SUCCESS);
  }
  void TearDown() override {
    ASSERT_EQ(cublasDestroy(handle_), CUBLAS_STATUS_SUCCESS);
    Modes::TearDown();
  }

  // Row-major C[M, N] = alpha A B + beta C, as the column-major product of the
  // transposed matrices.
  cublasStatus_t multiply(Form form, const Precision& precision, int64_t M,
                          int64_t N, int64_t K, double alpha, const void* a,
                          int64_t lda, const void* b, int64_t ldb, double beta,
                          void* c, int64_t ldc) {
    const float alpha32 = static_cast<float>(alpha);
    const float beta32 = static_cast<float>(beta);
    const bool f64 = precision.compute == CUBLAS_COMPUTE_64F;
    const void* alpha_data = f64 ? static_cast<void*>(&alpha) : nullptr;
    const void* beta_data = f64 ? static_cast<void*>(&beta) : nullptr;
    if (!f64) {
      alpha_data = &alpha32;
      beta_data = &beta32;
    }
    return cublasGemmEx(handle_, form == Form::kNT ? CUBLAS_OP_T : CUBLAS_OP_N,
                        form == Form::kTN ? CUBLAS_OP_T : CUBLAS_OP_N, N, M, K,
                        alpha_data, b, precision.operands, ldb, a,
                        precision.operands, lda, beta_data, c, precision.result,
                        ldc, precision.compute, CUBLAS_GEMM_DEFAULT);
  }

  // Compares with sums in float64, for one size.
  void check(Form form, const Precision& precision, int64_t M, int64_t N,
             int64_t K, double alpha, double beta) {
    SCOPED_TRACE(testing::Message()
                 << precision.name << " M " << M << " N " << N << " K " << K
                 << " form " << static_cast<int>(form));
    std::mt19937 random(7);
    const int64_t a_rows = form == Form::kTN ? K : M;
    const int64_t b_rows = form == Form::kNT ? N : K;
    const int64_t lda = (form == Form::kTN ? M : K) + 3;
    const int64_t ldb = (form == Form::kNT ? K : N) + 1, ldc = N + 2;
    Operand a(precision.operands, a_rows, lda);
    Operand b(precision.operands, b_rows, ldb);
    Operand c(precision.result, M, ldc);
    a.fill(random, stream_);
    b.fill(random, stream_);
    std::vector<double> before(M * ldc, 0.0);
    if (beta != 0) {
      c.fill(random, stream_);
      for (int64_t i = 0; i < M * ldc; ++i) before[i] = c(i);
    }  // Else C is NaN.
    ASSERT_EQ(multiply(form, precision, M, N, K, alpha, a.device(), lda,
                       b.device(), ldb, beta, c.device(), ldc),
              CUBLAS_STATUS_SUCCESS);
    c.download(stream_);
    for (int64_t i = 0; i < M; ++i) {
      for (int64_t j = 0; j < N; ++j) {
        double sum = 0, size = 0;
        for (int64_t p = 0; p < K; ++p) {
          const double term = a(form == Form::kTN ? p * lda + i : i * lda + p) *
                              b(form == Form::kNT ? j * ldb + p : p * ldb + j);
          sum += term;
          size += std::fabs(term);
        }
        const double expected = alpha * sum + beta * before[i * ldc + j];
        const double tolerance =
            (std::fabs(alpha) * size) *
                (2 * precision.operand_eps + (K + 2) * precision.sum_eps) +
            2 * precision.sum_eps * std::fabs(beta * before[i * ldc + j]) +
            precision.result_eps * std::fabs(expected);
        ASSERT_NEAR(c(i * ldc + j), expected, tolerance) << i << ", " << j;
      }
      if (beta != 0) continue;
      for (int64_t j = N; j < ldc; ++j) {  // Beside the matrix.
        ASSERT_TRUE(std::isnan(c(i * ldc + j)));
      }
    }
  }

  cublasHandle_t handle_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(EachMode, Cublas, kAllModes, mode_name);

TEST_P(Cublas, ProductsAgreeWithTheDefinition) {
  const std::tuple<int64_t, int64_t, int64_t> sizes[] = {
      {1, 1, 1}, {3, 5, 7}, {17, 4, 33}, {16, 16, 64}, {5, 70, 300}};
  for (const Precision& precision : {kF32, kTf32, kBf16, kBf16ToF32, kF64}) {
    for (const Form form : {Form::kNN, Form::kNT, Form::kTN}) {
      for (const auto& [M, N, K] : sizes) {
        check(form, precision, M, N, K, 1, 0);
        check(form, precision, M, N, K, 1, 1);
        check(form, precision, M, N, K, -0.5, 2);
      }
    }
  }
}

TEST_P(Cublas, WithoutTermsTheResultIsZeroOrWhatItWas) {
  Operand c(CUDA_R_32F, 2, 2);
  EXPECT_EQ(multiply(Form::kNN, kF32, 2, 2, 0, 1, nullptr, 1, nullptr, 2, 0,
                     c.device(), 2),
            CUBLAS_STATUS_SUCCESS);
  c.download(stream_);
  EXPECT_EQ(c(3), 0);
  c.set(3, 5);
  c.upload(stream_);
  EXPECT_EQ(multiply(Form::kNN, kF32, 2, 2, 0, 1, nullptr, 1, nullptr, 2, 2,
                     c.device(), 2),
            CUBLAS_STATUS_SUCCESS);
  c.download(stream_);
  EXPECT_EQ(c(3), 10);
}

// A result doesn't depend on which others are computed with it.
TEST_P(Cublas, ARowHasTheSameBitsAlone) {
  std::mt19937 random(3);
  const int64_t M = 37, N = 29, K = 700;
  Operand a(CUDA_R_32F, M, K), b(CUDA_R_32F, K, N);
  Operand all(CUDA_R_32F, M, N), one(CUDA_R_32F, 1, N);
  a.fill(random, stream_);
  b.fill(random, stream_);
  ASSERT_EQ(multiply(Form::kNN, kF32, M, N, K, 1, a.device(), K, b.device(), N,
                     0, all.device(), N),
            CUBLAS_STATUS_SUCCESS);
  ASSERT_EQ(multiply(Form::kNN, kF32, 1, N, K, 1, a.device() + 36 * K * 4, K,
                     b.device(), N, 0, one.device(), N),
            CUBLAS_STATUS_SUCCESS);
  all.download(stream_);
  one.download(stream_);
  for (int64_t j = 0; j < N; ++j) EXPECT_EQ(all(36 * N + j), one(j));
}

TEST_P(Cublas, Tf32IsRoundedToTenBits) {
  Operand a(CUDA_R_32F, 1, 1), b(CUDA_R_32F, 1, 1), c(CUDA_R_32F, 1, 1);
  b.set(0, 1);
  b.upload(stream_);
  const double inf = std::numeric_limits<double>::infinity();
  const std::pair<double, double> cases[] = {{1 + 0x1p-10, 1 + 0x1p-10},
                                             {1 + 0x1p-11, 1 + 0x1p-10},
                                             {-1 - 0x1p-11, -1 - 0x1p-10},
                                             {1 + 0x1.8p-12, 1},
                                             {inf, inf},
                                             {-0x1.fffp-3, -0x1p-2}};
  for (const auto& [value, rounded] : cases) {
    a.set(0, value);
    a.upload(stream_);
    for (const bool by_mode : {false, true}) {
      EXPECT_EQ(cublasSetMathMode(handle_, by_mode ? CUBLAS_TF32_TENSOR_OP_MATH
                                                   : CUBLAS_DEFAULT_MATH),
                CUBLAS_STATUS_SUCCESS);
      ASSERT_EQ(multiply(Form::kNN, by_mode ? kF32 : kTf32, 1, 1, 1, 1,
                         a.device(), 1, b.device(), 1, 0, c.device(), 1),
                CUBLAS_STATUS_SUCCESS);
      c.download(stream_);
      EXPECT_EQ(c(0), rounded);
    }
  }
}

TEST_P(Cublas, Bf16IsRoundedOnceToTheNearestEven) {
  Operand a(CUDA_R_16BF, 1, 2), b(CUDA_R_16BF, 2, 1), c(CUDA_R_16BF, 1, 1);
  b.set(0, 1);
  b.set(1, 1);
  b.upload(stream_);
  const std::tuple<double, double, double> cases[] = {
      {1, 0x1p-8, 1},
      {1, 0x1.02p-8, 1 + 0x1p-7},
      {1 + 0x1p-7, 0x1p-8, 1 + 0x1p-6},
      {1, 0x1p-7, 1 + 0x1p-7}};
  for (const auto& [first, second, sum] : cases) {
    a.set(0, first);
    a.set(1, second);
    a.upload(stream_);
    ASSERT_EQ(multiply(Form::kNN, kBf16, 1, 1, 2, 1, a.device(), 2, b.device(),
                       1, 0, c.device(), 1),
              CUBLAS_STATUS_SUCCESS);
    c.download(stream_);
    EXPECT_EQ(c(0), sum) << first << " + " << second;
  }
  a.set(0, std::numeric_limits<double>::quiet_NaN());
  a.upload(stream_);
  ASSERT_EQ(multiply(Form::kNN, kBf16, 1, 1, 2, 1, a.device(), 2, b.device(), 1,
                     0, c.device(), 1),
            CUBLAS_STATUS_SUCCESS);
  c.download(stream_);
  EXPECT_TRUE(std::isnan(c(0)));
}

// Heads beside each other: each matrix [T, D] of a [T, H, D] array.
TEST_P(Cublas, ABatchStridesOverInterleavedMatrices) {
  const int64_t T = 9, H = 3, D = 5;
  std::mt19937 random(11);
  Operand q(CUDA_R_32F, T, H * D), k(CUDA_R_32F, T, H * D);
  Operand scores(CUDA_R_32F, H, T * T);
  q.fill(random, stream_);
  k.fill(random, stream_);
  const float one = 1, zero = 0;
  ASSERT_EQ(cublasGemmStridedBatchedEx(
                handle_, CUBLAS_OP_T, CUBLAS_OP_N, T, T, D, &one, k.device(),
                CUDA_R_32F, H * D, D, q.device(), CUDA_R_32F, H * D, D, &zero,
                scores.device(), CUDA_R_32F, T, T * T, H, CUBLAS_COMPUTE_32F,
                CUBLAS_GEMM_DEFAULT),
            CUBLAS_STATUS_SUCCESS);
  scores.download(stream_);
  for (int64_t h = 0; h < H; ++h) {
    for (int64_t t = 0; t < T; ++t) {
      for (int64_t s = 0; s < T; ++s) {
        double sum = 0;
        for (int64_t d = 0; d < D; ++d) {
          sum += q((t * H + h) * D + d) * k((s * H + h) * D + d);
        }
        EXPECT_NEAR(scores((h * T + t) * T + s), sum, 7 * D * 0x1p-24);
      }
    }
  }
}

TEST_P(Cublas, RefusesSizesAndMemoryThatAreNotThose) {
  const cublasStatus_t invalid = CUBLAS_STATUS_INVALID_VALUE;
  Operand a(CUDA_R_32F, 4, 6), b(CUDA_R_32F, 6, 8), c(CUDA_R_32F, 4, 8);
  const auto product = [&](const void* a_data, int64_t lda, const void* b_data,
                           int64_t ldb, void* c_data, int64_t ldc) {
    return multiply(Form::kNN, kF32, 4, 8, 6, 1, a_data, lda, b_data, ldb, 0,
                    c_data, ldc);
  };
  EXPECT_EQ(product(a.device(), 6, b.device(), 8, c.device(), 8),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(product(a.device(), 5, b.device(), 8, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 6, b.device(), 7, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 6, b.device(), 8, c.device(), 7), invalid);
  // One element more than there is.
  EXPECT_EQ(product(a.device() + 4, 6, b.device(), 8, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 7, b.device(), 8, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 6, b.device(), 9, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 6, b.device(), 8, c.device(), 9), invalid);
  // Not at a multiple of an element's size.
  EXPECT_EQ(multiply(Form::kNN, kF32, 2, 2, 2, 1, a.device() + 2, 6, b.device(),
                     8, 0, c.device(), 8),
            invalid);
  std::vector<float> host(64);
  Array<float> pinned(Array<float>::kPinned, 64);
  EXPECT_EQ(product(host.data(), 6, b.device(), 8, c.device(), 8), invalid);
  EXPECT_EQ(product(a.device(), 6, b.device(), 8, pinned.data(), 8), invalid);
  EXPECT_EQ(multiply(Form::kNN, kF32, -1, 8, 6, 1, a.device(), 6, b.device(), 8,
                     0, c.device(), 8),
            invalid);
  EXPECT_EQ(cublasGemmEx(handle_, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, nullptr,
                         b.device(), CUDA_R_32F, 8, a.device(), CUDA_R_32F, 6,
                         c.device(), c.device(), CUDA_R_32F, 8,
                         CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            invalid);
}

TEST_P(Cublas, RefusesTypesThatDoNotGoTogether) {
  Operand a(CUDA_R_64F, 4, 4), b(CUDA_R_64F, 4, 4), c(CUDA_R_64F, 4, 4);
  const Precision cases[] = {
      {"", CUDA_R_32F, CUDA_R_16BF, CUBLAS_COMPUTE_32F, 0, 0, 0},
      {"", CUDA_R_32F, CUDA_R_64F, CUBLAS_COMPUTE_32F, 0, 0, 0},
      {"", CUDA_R_64F, CUDA_R_64F, CUBLAS_COMPUTE_32F, 0, 0, 0},
      {"", CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_64F, 0, 0, 0},
      {"", CUDA_R_16BF, CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, 0, 0, 0}};
  for (const Precision& precision : cases) {
    EXPECT_EQ(multiply(Form::kNN, precision, 2, 2, 2, 1, a.device(), 2,
                       b.device(), 2, 0, c.device(), 2),
              CUBLAS_STATUS_NOT_SUPPORTED);
  }
}

TEST_P(Cublas, SetStreamForgetsTheWorkspace) {
  Array<char> workspace(Array<char>::kDevice, 4096);
  EXPECT_EQ(workspace_of(handle_).begin, nullptr);
  EXPECT_EQ(cublasSetWorkspace(handle_, workspace.data(), 4096),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(workspace_of(handle_).begin, workspace.data());
  EXPECT_EQ(workspace_of(handle_).bytes, 4096u);
  EXPECT_EQ(cublasSetWorkspace(handle_, workspace.data() + 16, 1024),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSetWorkspace(handle_, workspace.data(), 4097),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasSetStream(handle_, stream_), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(workspace_of(handle_).begin, nullptr);
}

TEST_P(Cublas, AHandleNeedsAStream) {
  cublasHandle_t handle = nullptr;
  ASSERT_EQ(cublasCreate(&handle), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasSetStream(handle, nullptr), CUBLAS_STATUS_INVALID_VALUE);
  Operand a(CUDA_R_32F, 1, 1);
  const float one = 1;
  EXPECT_EQ(
      cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 1, &one, a.device(),
                   CUDA_R_32F, 1, a.device(), CUDA_R_32F, 1, &one, a.device(),
                   CUDA_R_32F, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
      CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(cublasDestroy(handle), CUBLAS_STATUS_NOT_INITIALIZED);
  cudaGetLastError();
}

}  // namespace
}  // namespace hostcuda
