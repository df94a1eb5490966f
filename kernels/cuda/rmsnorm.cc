// Launches RMSNorm.

#include "kernels/rmsnorm.h"

#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/rmsnorm.cuh"
#include "kernels/cuda/row_launch.h"

namespace timepipe::cuda {

void rmsnorm_forward(Context& ctx, const Tensor& x, const Tensor& w, double eps,
                     Tensor& y, Tensor& rstd) {
  const int64_t N = x.dim(0), C = x.dim(1);
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    dispatch_row(C, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&rmsnorm_forward_kernel<kRow, A>, kRow>(
          ctx, N, C, device_elements<T>(x), device_elements<T>(w), eps,
          device_elements<A>(y), device_elements<T>(rstd));
    });
  });
}

void rmsnorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                      const Tensor& w, const Tensor& rstd, Tensor& dx,
                      Write write_dx, Tensor& dw, Write write_dw) {
  const int64_t N = x.dim(0), C = x.dim(1);
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T *g = device_elements<T>(dy), *in = device_elements<T>(x);
    const T* r = device_elements<T>(rstd);
    dispatch_row(C, [&](auto row) {
      constexpr int kRow = row();
      launch_rows<&rmsnorm_backward_x_kernel<kRow, T>, kRow>(
          ctx, N, C, g, in, device_elements<T>(w), r, device_elements<T>(dx),
          write_dx == Write::kAdd);
    });
    column_sums<&rmsnorm_backward_w_kernel<T>>(
        ctx, N, C, device_elements<T>(dw), write_dw, g, in, r);
  });
}

}  // namespace timepipe::cuda
