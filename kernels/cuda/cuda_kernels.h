#pragma once

// The kernels on the memory of a CUDA device.

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
#include "runtime/context.h"

namespace timepipe::cuda {

#include "kernels/device_kernels.inc"

}  // namespace timepipe::cuda
