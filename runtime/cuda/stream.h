#pragma once

// What kernels/cuda needs of a context's device.

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include "runtime/context.h"

namespace timepipe::cuda {

// Of a context whose device is a CUDA one.
cudaStream_t cuda_stream(Context& ctx);
// Its own handle, which works in its stream, with its own workspace.
cublasHandle_t cublas(Context& ctx);

}  // namespace timepipe::cuda
