#pragma once

#include "runtime/context.h"

namespace timepipe {

enum class Rotation { kForward, kBackward };

// Rotary position embedding, in place, on adjacent pairs (2i, 2i+1) of each
// head (goldens: positions restart in every mini-batch of the inner learner):
//   angle = ((place + row) mod mini_batch) * theta^(-2i/D)
// x: [T, H*D], may be bf16; place: of row 0 in its mini-batch. kBackward turns
// by the opposite angle: the gradient of kForward. D must be even.
void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place = 0);

}  // namespace timepipe
