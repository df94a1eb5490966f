// Rounds gradients to integers, adds those and makes numbers of them again:
// kernels/gradient_sum.h. The bits are the CPU's: products with powers of two
// are exact.

#include "kernels/cuda/gradient_sum.cuh"

namespace timepipe::cuda {
namespace {

__device__ void add_to(int64_t* word, int64_t /*plane*/, float x) {
  word[0] += __double2ll_rn(static_cast<double>(x) * 0x1p52);
}

__device__ void add_to(int64_t* word, int64_t plane, double x) {
  const int64_t hi = __double2ll_rn(x * 0x1p40);
  word[0] += hi;
  word[plane] +=
      __double2ll_rn((x - static_cast<double>(hi) * 0x1p-40) * 0x1p88);
}

__device__ void value_of(const int64_t* word, int64_t /*plane*/, float& x) {
  x = static_cast<float>(static_cast<double>(word[0]) * 0x1p-52);
}

__device__ void value_of(const int64_t* word, int64_t plane, double& x) {
  x = static_cast<double>(word[0]) * 0x1p-40 +
      static_cast<double>(word[plane]) * 0x1p-88;
}

}  // namespace

template <class T>
__global__ void gradient_sum_add_kernel(const T* gradient, int64_t n,
                                        double limit, int64_t* words,
                                        int64_t plane, Counter* refused) {
  Counter count = 0;
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const T x = gradient[i];
    if (fabs(x) < limit) {  // false for NaN
      add_to(words + i, plane, x);
    } else {
      ++count;
    }
  }
  if (count > 0) atomicAdd(refused, count);
}

template <class T>
__global__ void gradient_sum_values_kernel(const int64_t* words, int64_t plane,
                                           int64_t n, T* values) {
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    value_of(words + i, plane, values[i]);
  }
}

#define TIMEPIPE_TYPE(T)                                                       \
  template __global__ void gradient_sum_add_kernel(                            \
      const T*, int64_t, double, int64_t*, int64_t, Counter*);                 \
  template __global__ void gradient_sum_values_kernel(const int64_t*, int64_t, \
                                                      int64_t, T*)
TIMEPIPE_TYPE(float);
TIMEPIPE_TYPE(double);

}  // namespace timepipe::cuda
