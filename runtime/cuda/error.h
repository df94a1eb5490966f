#pragma once

#include <cuda_runtime.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace timepipe {

// What CUDA or one of its libraries refused, or a device that failed; the text
// names the call and the error.
class CudaError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

namespace cuda {

// Throws CudaError("WHAT: out of memory (cudaErrorMemoryAllocation)") unless
// it is a success.
void check(cudaError_t error, std::string_view what);

}  // namespace cuda
}  // namespace timepipe
