#pragma once

#include <cuda_runtime.h>
#include <hostcuda/engine.h>

#include <functional>

namespace hostcuda {

// Checks the shape against the limits of a device, counts the launch and
// enqueues it; `kernel` calls the kernel's function with its arguments, once
// for each thread. `name` lives as long as the program (a literal).
cudaError_t launch(const char* name, const GridShape& shape,
                   cudaStream_t stream, std::function<void()> kernel);

// A kernel instance that the program contains: called while static objects are
// made, so that one that is never launched is known too.
void register_kernel(const char* name);

}  // namespace hostcuda
