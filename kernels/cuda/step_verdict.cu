// What a step comes to: kernels/step_verdict.h.

#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/step_verdict.cuh"

namespace timepipe::cuda {
namespace {

// The sum of x[0..n) in order, for the first thread; the block brings them to
// `shared`, from where one thread adds them fast.
__device__ double sum_in_order(const double* x, int64_t n, double* shared) {
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kVerdictThreads) {
    const int64_t i = begin + threadIdx.x;
    if (i < n) shared[threadIdx.x] = x[i];
    __syncthreads();
    const int64_t left = n - begin;
    const auto count =
        static_cast<int>(left < kVerdictThreads ? left : kVerdictThreads);
    for (int j = 0; j < count && threadIdx.x == 0; ++j) sum += shared[j];
    __syncthreads();
  }
  return sum;
}

}  // namespace

__global__ void step_verdict_kernel(StepSums sums, double clip_norm,
                                    Verdict* verdict) {
  TIMEPIPE_SHARED(double, shared, kVerdictThreads);
  const double loss = sum_in_order(sums.losses, sums.num_losses, shared);
  const double norm =
      sqrt(sum_in_order(sums.squares, sums.num_squares, shared));
  if (threadIdx.x > 0) return;
  bool finite = is_finite(loss) && is_finite(norm);
  for (int64_t i = 0; i < sums.num_refused; ++i) {
    finite = finite && sums.refused[i] == 0;
  }
  const bool clip = clip_norm > 0 && norm >= clip_norm;
  *verdict = {loss, norm, clip ? clip_norm / norm : 1, finite ? 1. : 0.};
}

}  // namespace timepipe::cuda
