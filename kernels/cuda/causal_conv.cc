// Depthwise causal convolution on a device.

#include "kernels/causal_conv.h"

#include "kernels/cuda/causal_conv.cuh"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/segments.h"

namespace timepipe::cuda {
namespace {

constexpr int kConvThreads = kConvColumns * kConvGroups;

int64_t tiles(int64_t rows, int64_t C) {
  return (rows + kConvRows - 1) / kConvRows *
         ((C + kConvColumns - 1) / kConvColumns);
}

template <class A>
ConvRows<A> rows_of(const Tensor& x, const Tensor& halo, const Tensor& w,
                    const DeviceSegments& segments) {
  return {device_elements<A>(x),
          halo.empty() ? nullptr : device_elements<Wide<A>>(halo),
          segments.table(),
          x.dim(0),
          x.dim(1),
          w.dim(2)};
}

template <class T>
int64_t taps_bytes(const Tensor& w) {
  return w.dim(2) * kConvColumns * static_cast<int64_t>(sizeof(T));
}

template <class A>
void backward_parameters(Context& ctx, const ConvRows<A>& x, const A* dy,
                         Wide<A>* dw, Wide<A>* dbias) {
  const int64_t G = (x.rows + kPartialRows - 1) / kPartialRows;
  const int64_t across = (x.C + kConvSumThreads - 1) / kConvSumThreads;
  Tensor of_dw = ctx.allocate({G, x.C * x.k}, DType::kF64);
  Tensor of_dbias = ctx.allocate({G, x.C}, DType::kF64);
  launch<&causal_conv_partials_kernel<A>>(ctx, G * across, kConvSumThreads, x,
                                          dy, device_elements<double>(of_dw),
                                          device_elements<double>(of_dbias));
  add_partials(ctx, of_dw, dw, Write::kOverwrite);
  add_partials(ctx, of_dbias, dbias, Write::kOverwrite);
}

}  // namespace

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y) {
  const DeviceSegments uploaded(ctx, segments);
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    launch_shared<&causal_conv_forward_kernel<A>>(
        ctx, tiles(x.dim(0), x.dim(1)), kConvThreads, taps_bytes<T>(w),
        rows_of<A>(x, halo, w, uploaded), device_elements<T>(w),
        device_elements<T>(bias), device_elements<A>(y));
  });
}

void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias) {
  const DeviceSegments uploaded(ctx, segments);
  const int64_t halo_rows = dhalo.empty() ? 0 : dhalo.dim(0);
  dispatch_stored(x.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const ConvGradients<T> gradients{
        device_elements<T>(dx),
        dhalo.empty() ? nullptr : device_elements<T>(dhalo), halo_rows,
        write_dx == Write::kAdd};
    launch_shared<&causal_conv_backward_x_kernel<A>>(
        ctx, tiles(halo_rows + x.dim(0), x.dim(1)), kConvThreads,
        taps_bytes<T>(w), rows_of<A>(dy, Tensor(), w, uploaded),
        device_elements<T>(w), gradients);
    backward_parameters<A>(ctx, rows_of<A>(x, halo, w, uploaded),
                           device_elements<A>(dy), device_elements<T>(dw),
                           device_elements<T>(dbias));
  });
}

}  // namespace timepipe::cuda
