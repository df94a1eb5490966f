// Decoding with a TTT layer on a device, a block for each head.

#include "kernels/ttt_decode.h"

#include "kernels/cuda/ttt_decode.cuh"
#include "kernels/cuda/ttt_launch.h"
#include "kernels/cuda/ttt_sums.cuh"

namespace timepipe::cuda {
namespace {

using namespace ttt;  // NOLINT: the parts of this one kernel

template <class T, class Model>
void forward(Context& ctx, const TttDecodeForward& args) {
  const TttShape& shape = args.shape;
  const int rows = static_cast<int>(args.xq.dim(0));
  const int64_t size = decode_forward_size<T, Model>(shape, rows);
  ScratchOfBlocks<T> scratch(ctx, shape.heads, size);
  launch_shared<&ttt::ttt_decode_forward<T, Model>>(
      ctx, shape.heads, threads_for(shape), scratch.shared_bytes(),
      DecodeForward<T>{.shape = shape,
                       .rows = rows,
                       .inputs = inputs_of<T>(args),
                       .state = device_elements<T>(args.state),
                       .sum_in = device_elements<T>(args.sum_in),
                       .y = device_elements<T>(args.y),
                       .sum_out = device_elements<T>(args.sum_out),
                       .state_last = elements_or_null<T>(args.state_last),
                       .scratch = scratch.elements(),
                       .scratch_size = size});
}

template <class T, class Model>
void backward(Context& ctx, const TttDecodeBackward& args) {
  const TttShape& shape = args.shape;
  const int64_t H = shape.heads, r = args.xq.dim(0);
  const int rows = static_cast<int>(r), threads = threads_for(shape);
  const int64_t size = decode_backward_size<T, Model>(shape, rows, threads);
  ScratchOfBlocks<T> scratch(ctx, H, size);
  Tensor after = ctx.allocate({shape.state_size()}, dtype_of<T>());
  Tensor sums = ctx.zeros({H, head_sums_size(shape)}, DType::kF64);
  launch_shared<&ttt::ttt_decode_backward<T, Model>>(
      ctx, H, threads, scratch.shared_bytes(),
      DecodeBackward<T>{
          .shape = shape,
          .rows = rows,
          .inputs = inputs_of<T>(args),
          .state = device_elements<T>(args.state),
          .sum_in = device_elements<T>(args.sum_in),
          .dsum_out = elements_or_null<T>(args.dsum_out),
          .dstate_last = elements_or_null<T>(args.dstate_last),
          .d = {device_elements<T>(args.dy), activations<T>(args.dxq),
                activations<T>(args.dxk), activations<T>(args.dxv),
                device_elements<T>(args.dlr)},
          .dstate = device_elements<T>(args.dstate),
          .dsum_in = device_elements<T>(args.dsum_in),
          .after = device_elements<T>(after),
          .sums = device_elements<double>(sums),
          .scratch = scratch.elements(),
          .scratch_size = size});
  const int64_t results = 2 * H * shape.head_size + r;
  launch<&ttt_write_sums<T>>(
      ctx, (results + kThreads - 1) / kThreads, kThreads, shape, int64_t{1}, r,
      device_elements<double>(std::as_const(sums)),
      device_elements<T>(args.dln_w), device_elements<T>(args.dln_b),
      device_elements<T>(args.dtok));
}

}  // namespace

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args) {
  dispatch_model(args.shape, args.lr.dtype(), [&](auto zero, auto model) {
    forward<decltype(zero), typename decltype(model)::type>(ctx, args);
  });
}

void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args) {
  dispatch_model(args.shape, args.lr.dtype(), [&](auto zero, auto model) {
    backward<decltype(zero), typename decltype(model)::type>(ctx, args);
  });
}

}  // namespace timepipe::cuda
