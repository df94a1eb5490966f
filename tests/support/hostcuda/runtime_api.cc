// Devices, versions and errors.
#include <hostcuda/order.h>
#include <hostcuda/runtime_api.h>
#include <hostcuda/settings.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace hostcuda {
namespace {

thread_local cudaError_t last_error = cudaSuccess;
thread_local int device_of_thread = 0;

constexpr int kSharedBytes = 48 << 10;  // Of a block, without opting in.
constexpr int kMultiprocessors = 132;

struct ErrorText {
  cudaError_t error;
  const char *name, *text;
};

// The errors that the layer gives, and those that its users name.
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice",
     "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice",
     "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle",
     "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure",
     "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const ErrorText* find_text(cudaError_t error) {
  const auto* found = std::find_if(
      std::begin(kErrors), std::end(kErrors),
      [&](const ErrorText& entry) { return entry.error == error; });
  return found == std::end(kErrors) ? nullptr : found;
}

// The error of a call that names a device.
cudaError_t check_device(int device) {
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return state;
  const bool exists = device >= 0 && device < settings().devices;
  return exists ? cudaSuccess : cudaErrorInvalidDevice;
}

}  // namespace

cudaError_t failed(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t refused(const char* function, cudaError_t error, const char* why) {
  std::fprintf(stderr, "hostcuda: %s: %s\n", function, why);
  return failed(error);
}

cudaError_t device_state() {
  // A driver runs programs of its own and of earlier major versions.
  if (settings().driver / 1000 < CUDART_VERSION / 1000) {
    return cudaErrorInsufficientDriver;
  }
  return settings().devices == 0 ? cudaErrorNoDevice : cudaSuccess;
}

int current_device() { return device_of_thread; }

// The table "Technical Specifications per Compute Capability" of NVIDIA's
// programming guide.
std::size_t max_shared_bytes() {
  switch (settings().capability) {
    case 80:
    case 87:
      return 163 << 10;
    case 86:
    case 89:
    case 120:
      return 99 << 10;
    case 75:
      return 64 << 10;
    default:
      return 227 << 10;
  }
}

Stream usable_stream(const char* function, cudaStream_t handle,
                     cudaError_t* error) {
  const Unseen unseen;
  *error = failed(device_state());
  if (*error != cudaSuccess) return nullptr;
  if (handle == nullptr || handle == cudaStreamLegacy ||
      handle == cudaStreamPerThread) {
    *error = refused(function, cudaErrorInvalidResourceHandle,
                     "the default stream is not for this program");
    return nullptr;
  }
  Stream stream = find_stream(handle);
  if (stream == nullptr) {
    *error = refused(function, cudaErrorInvalidResourceHandle,
                     "the stream doesn't exist");
  }
  return stream;
}

}  // namespace hostcuda

using namespace hostcuda;

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* entry = find_text(error);
  return entry == nullptr ? "unrecognized error code" : entry->name;
}

const char* cudaGetErrorString(cudaError_t error) {
  const ErrorText* entry = find_text(error);
  return entry == nullptr ? "unrecognized error code" : entry->text;
}

cudaError_t cudaDriverGetVersion(int* version) {
  if (version == nullptr) return failed(cudaErrorInvalidValue);
  *version = settings().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  if (version == nullptr) return failed(cudaErrorInvalidValue);
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (count == nullptr) return failed(cudaErrorInvalidValue);
  const cudaError_t state = device_state();
  *count = state == cudaSuccess ? settings().devices : 0;
  return failed(state);
}

cudaError_t cudaSetDevice(int device) {
  const cudaError_t error = check_device(device);
  if (error == cudaSuccess) device_of_thread = device;
  return failed(error);
}

cudaError_t cudaGetDevice(int* device) {
  if (device == nullptr) return failed(cudaErrorInvalidValue);
  const cudaError_t state = device_state();
  if (state == cudaSuccess) *device = device_of_thread;
  return failed(state);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (properties == nullptr) return failed(cudaErrorInvalidValue);
  const cudaError_t error = check_device(device);
  if (error != cudaSuccess) return failed(error);
  cudaDeviceProp p{};
  std::strcpy(p.name, "host-CUDA");
  std::memcpy(p.uuid.bytes, "host-CUDA", 9);
  std::memcpy(p.uuid.bytes + 12, &device, sizeof device);
  p.totalGlobalMem = settings().memory;
  p.major = settings().capability / 10;
  p.minor = settings().capability % 10;
  p.multiProcessorCount = kMultiprocessors;
  p.warpSize = 32;
  p.maxThreadsPerBlock = 1024;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024;
  p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff;
  p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.maxThreadsPerMultiProcessor = 2048;
  p.maxBlocksPerMultiProcessor = 32;
  p.regsPerBlock = p.regsPerMultiprocessor = 65536;
  p.sharedMemPerBlock = kSharedBytes;
  p.sharedMemPerBlockOptin = max_shared_bytes();
  p.sharedMemPerMultiprocessor = max_shared_bytes() + 1024;
  p.l2CacheSize = 50 << 20;
  p.memoryBusWidth = 5120;
  p.pciBusID = device + 1;
  p.asyncEngineCount = 3;
  p.concurrentKernels = 1;
  p.unifiedAddressing = 1;
  p.canMapHostMemory = 1;
  p.streamPrioritiesSupported = 1;
  p.memoryPoolsSupported = 1;
  *properties = p;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute,
                                   int device) {
  if (value == nullptr) return failed(cudaErrorInvalidValue);
  cudaDeviceProp p;
  const cudaError_t error = cudaGetDeviceProperties(&p, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = p.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = p.minor;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = p.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(p.sharedMemPerBlock);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(p.sharedMemPerBlockOptin);
      return cudaSuccess;
    case cudaDevAttrL2CacheSize:
      *value = p.l2CacheSize;
      return cudaSuccess;
    case cudaDevAttrMemoryPoolsSupported:
      *value = p.memoryPoolsSupported;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = p.warpSize;
      return cudaSuccess;
    default:
      return refused("cudaDeviceGetAttribute", cudaErrorInvalidValue,
                     "the layer doesn't know the attribute");
  }
}
