// AdamW: kernels/adamw.h.

#include "kernels/cuda/adamw.cuh"

namespace timepipe::cuda {

template <class T>
__global__ void adamw_kernel(AdamWStep<T> step, const Verdict* verdict,
                             const T* gradient, int64_t n, T* m, T* v, T* p) {
  if (verdict->finite == 0) return;
  const T factor = static_cast<T>(verdict->factor);
  for (int64_t i = global_thread(); i < n; i += global_threads()) {
    const T g = factor * gradient[i];
    const T mean = step.beta1 * m[i] + step.rest1 * g;
    const T square = step.beta2 * v[i] + step.rest2 * (g * g);
    const T direction =
        mean / step.bias1 / (sqrt(square / step.bias2) + step.eps);
    m[i] = mean;
    v[i] = square;
    p[i] -= step.lr * (direction + step.decay * p[i]);
  }
}

template __global__ void adamw_kernel(AdamWStep<float>, const Verdict*,
                                      const float*, int64_t, float*, float*,
                                      float*);
template __global__ void adamw_kernel(AdamWStep<double>, const Verdict*,
                                      const double*, int64_t, double*, double*,
                                      double*);

}  // namespace timepipe::cuda
