#pragma once

#include <cublas_v2.h>

#include <cstddef>

namespace hostcuda {

struct Workspace {
  void* begin = nullptr;  // Null: the library's own.
  std::size_t bytes = 0;
};

// What cublasSetWorkspace() gave the handle after its last cublasSetStream().
Workspace workspace_of(cublasHandle_t handle);

}  // namespace hostcuda
