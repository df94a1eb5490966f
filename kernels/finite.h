#pragma once

#include "runtime/context.h"

namespace timepipe {

// Whether all elements of a tensor of f32 or f64 are finite. The host waits.
bool all_finite(Context& ctx, const Tensor& x);

}  // namespace timepipe
