// Sizes of states; checks the arguments, then calls the kernels on host memory,
// which has them for the chains only.

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

void check_scan(const TttScan& scan) {
  check_rows(scan);
  const TttShape& shape = scan.shape;
  const Tensor& xq = scan.xq;
  const int64_t T = xq.dim(0), b = shape.mini_batch;
  require_tensor("tok", scan.tok, xq, {b});
  require_tensor("kept", scan.kept, xq, {ttt_scan_kept_elements(shape, T)});
  require_tensor("y", scan.y, xq, xq.shape());
  check_segments(scan.segments, b, T);
}

void check_scan(const TttScan& scan, const TttScanGradients& d) {
  check_scan(scan);
  check_row_gradients(scan, d);
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

void ttt_scan_prepare(Context&, const TttScan& scan) { check_scan(scan); }

void ttt_scan_forward(Context& ctx, const TttScan& scan, const Tensor& start,
                      const Tensor& state_in, Tensor& state_out) {
  check_scan(scan);
  const Tensor& xq = scan.xq;
  const Shape state = {scan.shape.state_size()};
  const bool resets = !scan.segments.empty() && scan.segments[0].resets;
  require_tensor("start", start, xq, state);
  if (!resets || !state_in.empty()) {
    require_tensor("state_in", state_in, xq, state);
    require(!state_in.same_memory(state_out),
            "state_out: the memory of state_in, expected its own");
  }
  require_tensor("state_out", state_out, xq, state);
  const KernelScope scope(ctx);
  cpu::ttt_scan_forward(ctx, scan, start, state_in, state_out);
}

void ttt_scan_read(Context&, const TttScan& scan) { check_scan(scan); }

void ttt_scan_backward_read(Context&, const TttScan& scan,
                            const TttScanGradients& d) {
  check_scan(scan, d);
}

void ttt_scan_backward(Context& ctx, const TttScan& scan,
                       const TttScanGradients& d, const Tensor& start,
                       const Tensor& dstate_out, Tensor& dstate_in,
                       Tensor& dstart) {
  check_scan(scan, d);
  const Tensor& xq = scan.xq;
  const Shape state = {scan.shape.state_size()};
  require_tensor("start", start, xq, state);
  if (!dstate_out.empty()) {
    require_tensor("dstate_out", dstate_out, xq, state);
  }
  require_tensor("dstate_in", dstate_in, xq, state);
  require_tensor("dstart", dstart, xq, state);
  const KernelScope scope(ctx);
  cpu::ttt_scan_backward(ctx, scan, d, start, dstate_out, dstate_in, dstart);
}

void ttt_scan_backward_finish(Context&, const TttScan& scan,
                              const TttScanGradients& d) {
  check_scan(scan, d);
}

int64_t ttt_scan_scratch_bytes(const TttShape& shape, DType dtype) {
  return cpu::ttt_scan_scratch_bytes(shape, dtype);
}

}  // namespace timepipe
