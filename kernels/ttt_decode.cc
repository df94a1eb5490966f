// Checks the arguments, then calls the kernel of the device.

#include "kernels/ttt_decode.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/ttt_checks.h"

namespace timepipe {
namespace {

// What both passes read.
template <class Args>
void check_inputs(const Args& args) {
  check_rows(args);
  const TttShape& shape = args.shape;
  const Tensor& xq = args.xq;
  const int64_t r = xq.dim(0);
  require(r >= 1 && r <= shape.mini_batch, "xq: shape ", xq.shape(),
          ", expected 1 to ", shape.mini_batch, " rows of ", xq.dim(1));
  require_wide("tok", args.tok, xq, {r});
  require_wide("state", args.state, xq, {shape.state_size()});
  require_wide("sum_in", args.sum_in, xq, {shape.state_size()});
}

}  // namespace

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args) {
  check_inputs(args);
  const Shape state = {args.shape.state_size()};
  require_wide("y", args.y, args.xq, args.xq.shape());
  require_wide("sum_out", args.sum_out, args.xq, state);
  if (!args.state_last.empty()) {
    require_wide("state_last", args.state_last, args.xq, state);
  }
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_decode_forward, args);
}

void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const Shape state = {args.shape.state_size()};
  check_row_gradients(args, args);
  if (!args.dsum_out.empty()) {
    require_wide("dsum_out", args.dsum_out, xq, state);
  }
  if (!args.dstate_last.empty()) {
    require_wide("dstate_last", args.dstate_last, xq, state);
  }
  require_wide("dstate", args.dstate, xq, state);
  require_wide("dsum_in", args.dsum_in, xq, state);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_decode_backward, args);
}

}  // namespace timepipe
