#pragma once

// The kernels on host memory.

#include "kernels/adamw.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/finite.h"
#include "kernels/gradient_sum.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/parameter_blocks.h"
#include "kernels/pointwise.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/step_verdict.h"
#include "kernels/ttt_decode.h"
#include "kernels/ttt_scan.h"
#include "runtime/elements.h"

namespace timepipe::cpu {

#include "kernels/device_kernels.inc"

// The same numbers as f32 if x is bf16, else x itself.
Tensor widened(Context& ctx, const Tensor& x);

}  // namespace timepipe::cpu
