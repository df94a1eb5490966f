// AdamW on a device.

#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cuda/adamw.cuh"
#include "kernels/cuda/launch.h"

namespace timepipe::cuda {
namespace {

// Computed in f64 and rounded once.
template <class T>
AdamWStep<T> step_of(const AdamW& hyper) {
  const auto bias = [&](double beta) {
    return static_cast<T>(1 -
                          std::pow(beta, static_cast<double>(hyper.step + 1)));
  };
  return {.lr = static_cast<T>(hyper.lr),
          .beta1 = static_cast<T>(hyper.beta1),
          .beta2 = static_cast<T>(hyper.beta2),
          .rest1 = static_cast<T>(1 - hyper.beta1),
          .rest2 = static_cast<T>(1 - hyper.beta2),
          .bias1 = bias(hyper.beta1),
          .bias2 = bias(hyper.beta2),
          .eps = static_cast<T>(hyper.eps),
          .decay = static_cast<T>(hyper.weight_decay)};
}

}  // namespace

void adamw(Context& ctx, const AdamW& hyper, const Tensor& verdict,
           const Tensor& gradient, Tensor& m, Tensor& v, Tensor& p) {
  const auto* judged =
      reinterpret_cast<const Verdict*>(device_elements<double>(verdict));
  dispatch(p.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch<&adamw_kernel<T>>(
        ctx, blocks_for(p.numel()), kThreads, step_of<T>(hyper), judged,
        device_elements<T>(gradient), p.numel(), device_elements<T>(m),
        device_elements<T>(v), device_elements<T>(p));
  });
}

}  // namespace timepipe::cuda
