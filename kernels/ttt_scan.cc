#include "kernels/ttt_scan.h"

#include <string>

#include "kernels/checks.h"
#include "kernels/cpu/ttt_scan.h"

namespace timepipe {
namespace {

void require_positive(const char* name, int64_t value) {
  require(value >= 1, std::string("shape.") + name + ": " +
                          std::to_string(value) + ", expected 1 or more");
}

void check_segments(Segments segments, int64_t b, int64_t tokens) {
  int64_t end = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    const std::string name = "segments[" + std::to_string(i) + "]";
    require(s.row >= end && s.row % b == 0,
            name + ".row: " + std::to_string(s.row) + ", expected a multiple " +
                "of " + std::to_string(b) + " from " + std::to_string(end) +
                " on");
    require(s.rows >= 1 && s.rows <= tokens - s.row,
            name + ".rows: " + std::to_string(s.rows) + ", expected 1 to " +
                std::to_string(tokens - s.row));
    end = s.row + s.rows;
  }
}

// What both passes read.
template <class Args>
void check_inputs(const Args& args) {
  const TttShape& shape = args.shape;
  require_positive("heads", shape.heads);
  require_positive("head_size", shape.head_size);
  require_positive("mini_batch", shape.mini_batch);
  const int64_t H = shape.heads, D = shape.head_size, b = shape.mini_batch;
  const Tensor& xq = args.xq;
  require_matrix("xq", xq);
  require(xq.dim(1) == H * D, "xq: shape " + to_string(xq.shape()) +
                                  ", expected [T," + std::to_string(H * D) +
                                  "]");
  const int64_t T = xq.dim(0);
  require_tensor("xk", args.xk, xq, {T, H * D});
  require_tensor("xv", args.xv, xq, {T, H * D});
  require_tensor("lr", args.lr, xq, {T, H});
  require_tensor("tok", args.tok, xq, {b});
  require_tensor("ln_w", args.ln_w, xq, {H, D});
  require_tensor("ln_b", args.ln_b, xq, {H, D});
  require_tensor("start", args.start, xq, {shape.state_size()});
  require_tensor("checkpoints", args.checkpoints, xq,
                 {shape.num_checkpoints(T), shape.state_size()});
  check_segments(args.segments, b, T);
}

}  // namespace

int64_t TttShape::state_size() const {
  const int64_t D = head_size;
  const int64_t one_head =
      inner == InnerModel::kLinear ? D * D + D : 8 * D * D + 5 * D;
  return heads * one_head;
}

int64_t TttShape::num_checkpoints(int64_t tokens) const {
  const int64_t mini_batches = (tokens + mini_batch - 1) / mini_batch;
  return (mini_batches + kCheckpointEvery - 1) / kCheckpointEvery;
}

void ttt_scan_forward(Context& ctx, const TttScanForward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const Shape state = {args.shape.state_size()};
  const bool resets = !args.segments.empty() && args.segments[0].resets;
  if (!resets || !args.state_in.empty()) {
    require_tensor("state_in", args.state_in, xq, state);
    require(args.state_in.bytes().data() != args.state_out.bytes().data(),
            "state_out: the memory of state_in, expected its own");
  }
  require_tensor("y", args.y, xq, xq.shape());
  require_tensor("state_out", args.state_out, xq, state);
  cpu::ttt_scan_forward(ctx, args);
}

void ttt_scan_backward(Context& ctx, const TttScanBackward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const int64_t H = args.shape.heads, D = args.shape.head_size;
  const Shape state = {args.shape.state_size()};
  require_tensor("dy", args.dy, xq, xq.shape());
  if (!args.dstate_out.empty()) {
    require_tensor("dstate_out", args.dstate_out, xq, state);
  }
  require_tensor("dxq", args.dxq, xq, xq.shape());
  require_tensor("dxk", args.dxk, xq, xq.shape());
  require_tensor("dxv", args.dxv, xq, xq.shape());
  require_tensor("dlr", args.dlr, xq, {xq.dim(0), H});
  require_tensor("dtok", args.dtok, xq, {args.shape.mini_batch});
  require_tensor("dln_w", args.dln_w, xq, {H, D});
  require_tensor("dln_b", args.dln_b, xq, {H, D});
  require_tensor("dstate_in", args.dstate_in, xq, state);
  require_tensor("dstart", args.dstart, xq, state);
  cpu::ttt_scan_backward(ctx, args);
}

}  // namespace timepipe
