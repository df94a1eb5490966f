// Launches LayerNorm.

#include "kernels/layernorm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/layernorm.cuh"
#include "kernels/cuda/row_launch.h"

namespace timepipe::cuda {

void layernorm_forward(Context& ctx, const Tensor& x, const Tensor& w,
                       const Tensor& b, double eps, Tensor& y, Tensor& mean,
                       Tensor& rstd) {
  const int64_t N = x.dim(0), C = x.dim(1);
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    dispatch_row(C, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&layernorm_forward_kernel<kRow, A>, kRow>(
          ctx, N, C, device_elements<T>(x), device_elements<T>(w),
          device_elements<T>(b), eps, device_elements<A>(y),
          device_elements<T>(mean), device_elements<T>(rstd));
    });
  });
}

void layernorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd,
                        Tensor& dx, Tensor& dw, Tensor& db) {
  const int64_t N = x.dim(0), C = x.dim(1);
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *g = device_elements<T>(dy), *in = device_elements<T>(x);
    const T *m = device_elements<T>(mean), *r = device_elements<T>(rstd);
    dispatch_row(C, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&layernorm_backward_x_kernel<kRow, T>, kRow>(
          ctx, N, C, g, in, device_elements<T>(w), m, r,
          device_elements<T>(dx));
    });
    column_sums<&layernorm_backward_w_kernel<T>>(
        ctx, N, C, device_elements<T>(dw), Write::kOverwrite, g, in, m, r);
    column_sums<&column_partials_kernel<T>>(ctx, N, C, device_elements<T>(db),
                                            Write::kOverwrite, g);
  });
}

}  // namespace timepipe::cuda
