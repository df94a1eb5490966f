// What is said of devices in a build without CUDA; else
// runtime/cuda/device_facts.cc says it.

#include "runtime/device_facts.h"

#include "runtime/error.h"

namespace timepipe {

int num_cuda_devices() { return 0; }

DeviceFacts facts_of(Device device) {
  throw InvalidArgument("device: " + to_string(device) +
                        ", expected one of CUDA, which this build hasn't");
}

}  // namespace timepipe
