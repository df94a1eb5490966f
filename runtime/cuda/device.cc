// Whether there is a device that can be worked with.

#include "runtime/cuda/device.h"

#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "runtime/byte_text.h"
#include "runtime/cuda/error.h"
#include "runtime/device.h"
#include "runtime/error.h"

namespace timepipe::cuda {
namespace {

// Ampere: what the oldest code in this program is made for (CMakeLists.txt).
constexpr int kLeastMajor = 8;
// A context, cuBLAS's workspace and the smallest of models.
constexpr auto kLeastBytes = std::size_t{1} << 30;

std::string version_text(int version) {  // 13020 is 13.2
  return std::to_string(version / 1000) + "." +
         std::to_string(version % 1000 / 10);
}

int attribute(cudaDeviceAttr which, int index) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, index), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

int require_device(int index) {
  const std::string name =
      "device: " + to_string(Device{Device::Kind::kCuda, index});
  int driver = 0, runtime = 0, devices = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  require(driver != 0, name,
          ", but this machine has no NVIDIA driver; device=cpu needs none");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  const cudaError_t counted = cudaGetDeviceCount(&devices);
  require(counted != cudaErrorInsufficientDriver, name, ", but the driver is ",
          "for CUDA ", version_text(driver), ", expected one for ",
          version_text(runtime), " or later");
  require(counted != cudaErrorNoDevice, name,
          ", but no device is visible (CUDA_VISIBLE_DEVICES?)");
  check(counted, "cudaGetDeviceCount");
  require(0 <= index && index < devices, name, ", expected one of the ",
          devices, " visible, from cuda:0 on");
  const int major = attribute(cudaDevAttrComputeCapabilityMajor, index);
  require(major >= kLeastMajor, name, ", but its compute capability is ", major,
          ".", attribute(cudaDevAttrComputeCapabilityMinor, index),
          ", expected 8.0 or later");
  check(cudaSetDevice(index), "cudaSetDevice");
  std::size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  require(total >= kLeastBytes, name, ", but it has ",
          byte_text(static_cast<int64_t>(total)), " of memory, expected ",
          byte_text(static_cast<int64_t>(kLeastBytes)), " or more");
  return index;
}

}  // namespace timepipe::cuda
