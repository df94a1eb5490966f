// Matrix products by cuBLAS, whose matrices are column-major: row-major C is
// there C^T = B^T A^T, so B comes first.

#include "kernels/matmul.h"

#include <limits>
#include <string>
#include <type_traits>

#include "kernels/cuda/launch.h"
#include "runtime/transfer.h"

namespace timepipe::cuda {
namespace {

template <class T>
constexpr cudaDataType_t data_type() {
  if constexpr (std::is_same_v<T, float>) return CUDA_R_32F;
  if constexpr (std::is_same_v<T, double>) return CUDA_R_64F;
  return CUDA_R_16BF;
}

// Sums are of f32, also those of bf16: neither rounded to TF32, nor parts of
// them to bf16.
template <class A>
constexpr cublasMath_t math_mode() {
  constexpr int kInF32 = CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
  return static_cast<cublasMath_t>(CUBLAS_DEFAULT_MATH |
                                   (std::is_same_v<A, bf16> ? kInF32 : 0));
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(std::string(call) + ": " + cublasGetStatusString(status));
}

int size(int64_t n) {
  require(n <= std::numeric_limits<int>::max(), "matmul: ", n,
          " rows or columns, expected fewer than 2^31 on a CUDA device");
  return static_cast<int>(n);
}

// A [M,K] and B [K,N], or as `form` turns them; no size is 0.
template <class A, class C>
void multiply(Context& ctx, Form form, const Tensor& a, const Tensor& b,
              Tensor& c, Write write) {
  const bool a_turned = form == Form::kTN, b_turned = form == Form::kNT;
  const int M = size(c.dim(0)), N = size(c.dim(1));
  const int K = size(a.dim(a_turned ? 0 : 1));
  const Wide<A> one = 1, beta = write == Write::kAdd ? 1 : 0;
  const cublasHandle_t handle = cublas(ctx);
  check(cublasSetMathMode(handle, math_mode<A>()), "cublasSetMathMode");
  check(cublasGemmEx(
            handle, b_turned ? CUBLAS_OP_T : CUBLAS_OP_N,
            a_turned ? CUBLAS_OP_T : CUBLAS_OP_N, N, M, K, &one,
            device_elements<A>(b), data_type<A>(), b_turned ? K : N,
            device_elements<A>(a), data_type<A>(), a_turned ? M : K, &beta,
            device_elements<C>(c), data_type<C>(), N,
            std::is_same_v<A, double> ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
            CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx");
}

}  // namespace

void matmul(Context& ctx, Form form, const Tensor& a, const Tensor& b,
            Tensor& c, Write write) {
  if (c.empty()) return;
  if (a.empty()) {  // K = 0
    if (write == Write::kOverwrite) clear(ctx, c);
    return;
  }
  dispatch_stored(a.dtype(), [&](auto zero) {
    using A = decltype(zero);
    if (c.dtype() == a.dtype()) {
      multiply<A, A>(ctx, form, a, b, c, write);
    } else {
      multiply<A, Wide<A>>(ctx, form, a, b, c, write);
    }
  });
}

}  // namespace timepipe::cuda
