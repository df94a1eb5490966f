// Sums of columns from partial sums of their rows.

#include "kernels/cuda/column_partials.cuh"
#include "kernels/cuda/reduce.cuh"

namespace timepipe::cuda {

template <class T>
__global__ void column_partials_kernel(int64_t N, int64_t C, const T* x,
                                       double* partials) {
  column_partials(
      N, C, [=](int64_t n, int64_t c) { return x[n * C + c]; }, partials);
}

template <class T>
__global__ void add_partials_kernel(int64_t G, int64_t C,
                                    const double* partials, T* out, bool adds) {
  constexpr int kWarps = 8;
  TIMEPIPE_SHARED(double, sums, kWarps* kWarp);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t c = int64_t{blockIdx.x} * kWarp + lane;
  double sum = 0;
  if (c < C) {
    for (int64_t g = warp; g < G; g += kWarps) sum += partials[g * C + c];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || c >= C) return;
  for (int w = 1; w < kWarps; ++w) sum += sums[w * kWarp + lane];
  put(out[c], static_cast<T>(sum), adds);
}

template __global__ void column_partials_kernel<float>(int64_t, int64_t,
                                                       const float*, double*);
template __global__ void column_partials_kernel<double>(int64_t, int64_t,
                                                        const double*, double*);
template __global__ void add_partials_kernel<float>(int64_t, int64_t,
                                                    const double*, float*,
                                                    bool);
template __global__ void add_partials_kernel<double>(int64_t, int64_t,
                                                     const double*, double*,
                                                     bool);

}  // namespace timepipe::cuda
