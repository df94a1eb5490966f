#include "runtime/device_facts.h"

#include <cuda_runtime.h>
#include <xxhash.h>

#include "runtime/cuda/device.h"
#include "runtime/cuda/error.h"

namespace timepipe {

int num_cuda_devices() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess ? devices : 0;
}

DeviceFacts facts_of(Device device) {
  cuda::require_device(device.index);
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, device.index),
              "cudaGetDeviceProperties");
  std::size_t free = 0, total = 0;
  cuda::check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {.name = properties.name,
          .id = XXH64(&properties.uuid, sizeof(properties.uuid), /*seed=*/0),
          .free_bytes = static_cast<int64_t>(free),
          .total_bytes = static_cast<int64_t>(total)};
}

}  // namespace timepipe
