// Sizes of states; checks the arguments, then calls the kernel on host memory.

#include "kernels/ttt_scan.h"

#include <string>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/ttt_checks.h"

namespace timepipe {
namespace {

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
  check_rows(args);
  const TttShape& shape = args.shape;
  const Tensor& xq = args.xq;
  const int64_t T = xq.dim(0), b = shape.mini_batch;
  require_tensor("tok", args.tok, xq, {b});
  require_tensor("start", args.start, xq, {shape.state_size()});
  require_tensor("kept", args.kept, xq, {ttt_scan_kept_elements(shape, T)});
  check_segments(args.segments, b, T);
}

}  // namespace

int64_t TttShape::state_size() const {
  const int64_t D = head_size;
  const int64_t one_head =
      inner == InnerModel::kLinear ? D * D + D : 8 * D * D + 5 * D;
  return heads * one_head;
}

int64_t ttt_scan_kept_elements(const TttShape& shape, int64_t tokens) {
  return cpu::ttt_scan_kept_elements(shape, tokens);
}

void ttt_scan_forward(Context& ctx, const TttScanForward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const Shape state = {args.shape.state_size()};
  const bool resets = !args.segments.empty() && args.segments[0].resets;
  if (!resets || !args.state_in.empty()) {
    require_tensor("state_in", args.state_in, xq, state);
    require(!args.state_in.same_memory(args.state_out),
            "state_out: the memory of state_in, expected its own");
  }
  require_tensor("y", args.y, xq, xq.shape());
  require_tensor("state_out", args.state_out, xq, state);
  const KernelScope scope(ctx);
  cpu::ttt_scan_forward(ctx, args);
}

void ttt_scan_backward(Context& ctx, const TttScanBackward& args) {
  check_inputs(args);
  const Tensor& xq = args.xq;
  const Shape state = {args.shape.state_size()};
  check_row_gradients(args);
  if (!args.dstate_out.empty()) {
    require_tensor("dstate_out", args.dstate_out, xq, state);
  }
  require_tensor("dstate_in", args.dstate_in, xq, state);
  require_tensor("dstart", args.dstart, xq, state);
  const KernelScope scope(ctx);
  cpu::ttt_scan_backward(ctx, args);
}

int64_t ttt_scan_scratch_bytes(const TttShape& shape, DType dtype) {
  return cpu::ttt_scan_scratch_bytes(shape, dtype);
}

}  // namespace timepipe
