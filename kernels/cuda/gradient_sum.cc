// Sums of gradients in fixed point, on a device.

#include "kernels/gradient_sum.h"

#include "kernels/cuda/gradient_sum.cuh"
#include "kernels/cuda/launch.h"

namespace timepipe::cuda {

void gradient_sum_add(Context& ctx, const Tensor& gradient, double limit,
                      int64_t offset, Tensor& words, Tensor& refused) {
  dispatch(gradient.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = gradient.numel();
    launch<&gradient_sum_add_kernel<T>>(
        ctx, blocks_for(n), kThreads, device_elements<T>(gradient), n, limit,
        device_elements<int64_t>(words) + offset, words.dim(1),
        reinterpret_cast<Counter*>(device_elements<int64_t>(refused)));
  });
}

void gradient_sum_values(Context& ctx, const Tensor& words, int64_t offset,
                         Tensor& values) {
  dispatch(values.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t n = values.numel();
    launch<&gradient_sum_values_kernel<T>>(
        ctx, blocks_for(n), kThreads, device_elements<int64_t>(words) + offset,
        words.dim(1), n, device_elements<T>(values));
  });
}

}  // namespace timepipe::cuda
