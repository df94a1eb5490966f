#pragma once

#include "kernels/ttt_scan.h"

namespace timepipe::cpu {

// The kernels of the scan on host memory; the arguments are in
// kernels/ttt_scan.h, and checked there.

int64_t ttt_scan_kept_elements(const TttShape& shape, int64_t tokens);
void ttt_scan_forward(Context& ctx, const TttScanForward& args);
void ttt_scan_backward(Context& ctx, const TttScanBackward& args);
int64_t ttt_scan_scratch_bytes(const TttShape& shape, DType dtype);

}  // namespace timepipe::cpu
