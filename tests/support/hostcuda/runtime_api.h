#pragma once

#include <cuda_runtime.h>
#include <hostcuda/streams.h>

namespace hostcuda {

// What the functions of the runtime API share. The layer refuses what CUDA
// refuses and what the product does not do: the default stream, and copies
// from or to pageable memory.

// Remembers the error of this thread for cudaGetLastError(), gives it back.
cudaError_t failed(cudaError_t error);

// The same for a misuse; also says why on stderr.
cudaError_t refused(const char* function, cudaError_t error, const char* why);

// The error of every call where there is no driver or device.
cudaError_t device_state();

int current_device();

// Most dynamic shared memory of a block, in bytes: that of the capability.
std::size_t max_shared_bytes();

// The stream; null: *error says why not.
Stream usable_stream(const char* function, cudaStream_t handle,
                     cudaError_t* error);

}  // namespace hostcuda
