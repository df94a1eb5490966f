#include "kernels/ttt_decode.h"

#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/ttt_decode.h"

namespace timepipe {
namespace {

// What both passes read.
template <class Args>
void check_inputs(const Args& args) {
  const TttShape& shape = args.shape;
  require(shape.heads >= 1 && shape.head_size >= 1 && shape.mini_batch >= 1,
          "shape: " + std::to_string(shape.heads) + " heads of " +
              std::to_string(shape.head_size) + ", mini-batch " +
              std::to_string(shape.mini_batch) + ", expected 1 or more");
  const int64_t H = shape.heads, D = shape.head_size;
  const Tensor& xq = args.xq;
  require_matrix("xq", xq);
  const int64_t r = xq.dim(0);
  require(xq.dim(1) == H * D && r >= 1 && r <= shape.mini_batch,
          "xq: shape " + to_string(xq.shape()) + ", expected 1 to " +
              std::to_string(shape.mini_batch) + " rows of " +
              std::to_string(H * D));
  require_tensor("xk", args.xk, xq, {r, H * D});
  require_tensor("xv", args.xv, xq, {r, H * D});
  require_tensor("lr", args.lr, xq, {r, H});
  require_tensor("tok", args.tok, xq, {r});
  require_tensor("ln_w", args.ln_w, xq, {H, D});
  require_tensor("ln_b", args.ln_b, xq, {H, D});
  require_tensor("state", args.state, xq, {shape.state_size()});
  require_tensor("sum_in", args.sum_in, xq, {shape.state_size()});
}

}  // namespace

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args) {
  check_inputs(args);
  const Shape state = {args.shape.state_size()};
  require_tensor("y", args.y, args.xq, args.xq.shape());
  require_tensor("sum_out", args.sum_out, args.xq, state);
  if (!args.state_last.empty()) {
    require_tensor("state_last", args.state_last, args.xq, state);
  }
  cpu::ttt_decode_forward(ctx, args);
}

void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const int64_t H = args.shape.heads, D = args.shape.head_size;
  const Shape state = {args.shape.state_size()};
  require_tensor("dy", args.dy, xq, xq.shape());
  if (!args.dsum_out.empty()) {
    require_tensor("dsum_out", args.dsum_out, xq, state);
  }
  if (!args.dstate_last.empty()) {
    require_tensor("dstate_last", args.dstate_last, xq, state);
  }
  require_tensor("dxq", args.dxq, xq, xq.shape());
  require_tensor("dxk", args.dxk, xq, xq.shape());
  require_tensor("dxv", args.dxv, xq, xq.shape());
  require_tensor("dlr", args.dlr, xq, {xq.dim(0), H});
  require_tensor("dtok", args.dtok, xq, {xq.dim(0)});
  require_tensor("dln_w", args.dln_w, xq, {H, D});
  require_tensor("dln_b", args.dln_b, xq, {H, D});
  require_tensor("dstate", args.dstate, xq, state);
  require_tensor("dsum_in", args.dsum_in, xq, state);
  cpu::ttt_decode_backward(ctx, args);
}

}  // namespace timepipe
