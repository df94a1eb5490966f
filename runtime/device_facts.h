#pragma once

#include <cstdint>
#include <string>

#include "runtime/device.h"

namespace timepipe {

// What a device of this machine says of itself.
struct DeviceFacts {
  std::string name;  // "NVIDIA H100 80GB HBM3"
  uint64_t id = 0;   // of the hardware, however a process numbers it
  int64_t free_bytes = 0, total_bytes = 0;
};

// CUDA devices that this process sees; 0 without a driver, and in a build
// without CUDA.
int num_cuda_devices();

// Of a CUDA device, after a Context was made on it.
DeviceFacts facts_of(Device device);

}  // namespace timepipe
