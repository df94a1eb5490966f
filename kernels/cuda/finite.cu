// Looks for numbers that aren't finite: kernels/finite.h.

#include "kernels/cuda/finite.cuh"

namespace timepipe::cuda {

template <class T>
__global__ void count_infinite_kernel(const T* x, int64_t n, Counter* found) {
  Counter count = 0;
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    count += is_finite(x[i]) ? 0 : 1;
  }
  if (count > 0) atomicAdd(found, count);
}

template __global__ void count_infinite_kernel(const float*, int64_t, Counter*);
template __global__ void count_infinite_kernel(const double*, int64_t,
                                               Counter*);

}  // namespace timepipe::cuda
