#include "runtime/cuda/error.h"

#include <string>

namespace timepipe::cuda {

void check(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return;
  throw CudaError(std::string(what) + ": " + cudaGetErrorString(error) + " (" +
                  cudaGetErrorName(error) + ")");
}

}  // namespace timepipe::cuda
