#pragma once

#include "kernels/ttt_decode.h"

namespace timepipe::cpu {

void ttt_decode_forward(Context& ctx, const TttDecodeForward& args);
void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args);

}  // namespace timepipe::cpu
