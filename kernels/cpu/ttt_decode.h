#pragma once

#include "kernels/ttt_decode.h"

namespace timepipe::cpu {

// The kernels of decoding on host memory; the arguments are in
// kernels/ttt_decode.h, and checked there.

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args);
void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args);

}  // namespace timepipe::cpu
