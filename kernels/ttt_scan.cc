// Sizes of states; checks the arguments, then calls the device's kernels.

#include "kernels/ttt_scan.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/ttt_checks.h"

namespace timepipe {
namespace {

void check_rows_of_members(const ChunkRows& rows, int64_t b) {
  require_members(rows);
  require(rows.members == 1 || rows.stride % b == 0,
          "rows.stride: ", rows.stride, ", expected a multiple of ", b);
}

// In order, each in the rows of its member.
void check_segments(Segments segments, int64_t b, const ChunkRows& rows) {
  int64_t end = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& s = segments[i];
    require(s.row >= end && s.row % b == 0, "segments[", i, "].row: ", s.row,
            ", expected a multiple of ", b, " from ", end, " on");
    require(0 <= s.member && s.member < rows.members &&
                s.row >= s.member * rows.stride,
            "segments[", i, "].member: ", s.member, " of row ", s.row,
            ", expected that of the row, below ", rows.members);
    const int64_t most = s.member * rows.stride + rows.tokens - s.row;
    require(s.rows >= 1 && s.rows <= most, "segments[", i, "].rows: ", s.rows,
            ", expected 1 to ", most);
    end = s.row + s.rows;
  }
}

void check_scan(const TttScan& scan) {
  check_rows(scan);
  const TttShape& shape = scan.shape;
  const Tensor& xq = scan.xq;
  const int64_t b = shape.mini_batch;
  check_rows_of_members(scan.rows, b);
  require_shape("xq", xq, {scan.rows.count(), xq.dim(1)});
  require_wide("tok", scan.tok, xq, {b});
  require_wide("kept", scan.kept, xq,
               {ttt_scan_kept_elements(xq.device(), shape, scan.rows)});
  require_wide("y", scan.y, xq, xq.shape());
  check_segments(scan.segments, b, scan.rows);
}

// Whether every member starts afresh in this chunk.
bool all_reset(const TttScan& scan) {
  int64_t members = 0;
  for (const Segment& s : scan.segments) {
    if (s.member < members) continue;
    if (s.member > members || !s.resets) return false;
    ++members;
  }
  return members == scan.rows.members;
}

Shape states_shape(const TttScan& scan) {
  return {scan.rows.members * scan.shape.state_size()};
}

void check_scan(const TttScan& scan, const TttScanGradients& d) {
  check_scan(scan);
  check_row_gradients(scan, d);
  const int64_t passed =
      ttt_scan_passed_elements(scan.xq.device(), scan.shape, scan.rows);
  if (passed > 0) require_wide("passed", d.passed, scan.xq, {passed});
}

}  // namespace

int64_t TttShape::state_size() const {
  const int64_t D = head_size;
  const int64_t one_head =
      inner == InnerModel::kLinear ? D * D + D : 8 * D * D + 5 * D;
  return heads * one_head;
}

int64_t ttt_scan_kept_elements(Device device, const TttShape& shape,
                               const ChunkRows& rows) {
  return TIMEPIPE_OF_DEVICE(device, ttt_scan_kept_elements, shape, rows);
}

int64_t ttt_scan_passed_elements(Device device, const TttShape& shape,
                                 const ChunkRows& rows) {
  return TIMEPIPE_OF_DEVICE(device, ttt_scan_passed_elements, shape, rows);
}

int64_t ttt_scan_scratch_bytes(Device device, const TttShape& shape,
                               const ChunkRows& rows, DType dtype) {
  return TIMEPIPE_OF_DEVICE(device, ttt_scan_scratch_bytes, shape, rows, dtype);
}

void ttt_scan_prepare(Context& ctx, const TttScan& scan) {
  check_scan(scan);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_prepare, scan);
}

void ttt_scan_forward(Context& ctx, const TttScan& scan, const Tensor& start,
                      const Tensor& state_in, Tensor& state_out) {
  check_scan(scan);
  const Tensor& xq = scan.xq;
  require_wide("start", start, xq, {scan.shape.state_size()});
  const Shape states = states_shape(scan);
  if (!all_reset(scan) || !state_in.empty()) {
    require_wide("state_in", state_in, xq, states);
    require(!state_in.same_memory(state_out),
            "state_out: the memory of state_in, expected its own");
  }
  require_wide("state_out", state_out, xq, states);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_forward, scan, start, state_in, state_out);
}

void ttt_scan_read(Context& ctx, const TttScan& scan) {
  check_scan(scan);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_read, scan);
}

void ttt_scan_backward_read(Context& ctx, const TttScan& scan,
                            const TttScanGradients& d) {
  check_scan(scan, d);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_backward_read, scan, d);
}

void ttt_scan_backward(Context& ctx, const TttScan& scan,
                       const TttScanGradients& d, const Tensor& start,
                       const Tensor& dstate_out, Tensor& dstate_in,
                       Tensor& dstart) {
  check_scan(scan, d);
  const Tensor& xq = scan.xq;
  const Shape state = {scan.shape.state_size()}, states = states_shape(scan);
  require_wide("start", start, xq, state);
  if (!dstate_out.empty()) {
    require_wide("dstate_out", dstate_out, xq, states);
  }
  require_wide("dstate_in", dstate_in, xq, states);
  require_wide("dstart", dstart, xq, state);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_backward, scan, d, start, dstate_out, dstate_in,
                  dstart);
}

void ttt_scan_backward_finish(Context& ctx, const TttScan& scan,
                              const TttScanGradients& d) {
  check_scan(scan, d);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, ttt_scan_backward_finish, scan, d);
}

}  // namespace timepipe
