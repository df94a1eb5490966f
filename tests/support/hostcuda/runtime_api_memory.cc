// Memory, copies and fills.
#include <hostcuda/memory.h>
#include <hostcuda/order.h>
#include <hostcuda/runtime_api.h>

#include <cstring>

namespace hostcuda {
namespace {

// A block, not filled yet; of 0 bytes: null, and
// a success.
cudaError_t allocate(MemoryKind kind, int device, std::size_t bytes,
                     void** memory) {
  if (memory == nullptr) return failed(cudaErrorInvalidValue);
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  *memory = new_block(kind, device, bytes);
  return *memory == nullptr ? failed(cudaErrorMemoryAllocation) : cudaSuccess;
}

bool overlap(const char* a, const char* b, std::size_t bytes) {
  return a < b + bytes && b < a + bytes;
}

// Null, or why it is no copy.
const char* misuse(const void* to, const void* from, std::size_t bytes,
                   cudaMemcpyKind kind) {
  const std::optional<Block> target = find_block(to, bytes);
  const std::optional<Block> source = find_block(from, bytes);
  if (!target)
    return "the target isn't within one block of device or pinned "
           "memory";
  if (!source)
    return "the source isn't within one block of device or pinned "
           "memory";
  const bool from_device = source->kind == MemoryKind::kDevice;
  const bool to_device = target->kind == MemoryKind::kDevice;
  const cudaMemcpyKind actual =
      from_device
          ? to_device ? cudaMemcpyDeviceToDevice : cudaMemcpyDeviceToHost
      : to_device ? cudaMemcpyHostToDevice
                  : cudaMemcpyHostToHost;
  if (kind != cudaMemcpyDefault && kind != actual) {
    return "the direction isn't that of the memory";
  }
  if (overlap(static_cast<const char*>(to), static_cast<const char*>(from),
              bytes)) {
    return "source and target overlap";
  }
  return nullptr;
}

}  // namespace
}  // namespace hostcuda

using namespace hostcuda;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const Unseen unseen;
  const cudaError_t error =
      allocate(MemoryKind::kDevice, current_device(), bytes, memory);
  if (error == cudaSuccess && bytes > 0) fill_with_nan(*memory, bytes);
  return error;
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes,
                            cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaMallocAsync", handle, &error);
  if (stream == nullptr) return error;
  error = allocate(MemoryKind::kDevice, stream->device, bytes, memory);
  if (error != cudaSuccess || bytes == 0) return error;
  // A write to all of it: who uses it without this stream's order, races.
  enqueue(*stream, [begin = *memory, bytes] {
    fill_with_nan(begin, bytes);
    declare_written(begin, bytes);
  });
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const Unseen unseen;
  if (memory == nullptr) return cudaSuccess;
  // Waits for the device, as CUDA's own does.
  const cudaError_t error = cudaDeviceSynchronize();
  if (error != cudaSuccess) return error;
  const auto block = forget_block(memory, MemoryKind::kDevice);
  if (!block) {
    return refused("cudaFree", cudaErrorInvalidValue,
                   "no block of device memory begins there");
  }
  release_block(*block);
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaFreeAsync", handle, &error);
  if (stream == nullptr) return error;
  const auto block = forget_block(memory, MemoryKind::kDevice);
  if (!block) {
    return refused("cudaFreeAsync", cudaErrorInvalidValue,
                   "no block of device memory begins there");
  }
  enqueue(*stream, [block = *block] { release_block(block); });
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  if (free == nullptr || total == nullptr) return failed(cudaErrorInvalidValue);
  const DeviceMemory memory = device_memory(current_device());
  *free = memory.free;
  *total = memory.total;
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  const Unseen unseen;
  if ((flags & ~7u) != 0) return failed(cudaErrorInvalidValue);
  const cudaError_t error =
      allocate(MemoryKind::kPinned, current_device(), bytes, memory);
  if (error == cudaSuccess && bytes > 0) fill_with_nan(*memory, bytes);
  return error;
}

cudaError_t cudaFreeHost(void* memory) {
  const cudaError_t state = device_state();
  if (state != cudaSuccess) return failed(state);
  if (memory == nullptr) return cudaSuccess;
  const auto block = forget_block(memory, MemoryKind::kPinned);
  if (!block) {
    return refused("cudaFreeHost", cudaErrorInvalidValue,
                   "no block of pinned memory begins there");
  }
  release_block(*block);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaMemcpyAsync", handle, &error);
  if (stream == nullptr) return error;
  if (bytes == 0) return cudaSuccess;
  if (const char* why = misuse(to, from, bytes, kind)) {
    return refused("cudaMemcpyAsync", cudaErrorInvalidValue, why);
  }
  enqueue(*stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes,
                            cudaStream_t handle) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream("cudaMemsetAsync", handle, &error);
  if (stream == nullptr) return error;
  if (bytes == 0) return cudaSuccess;
  const auto block = find_block(memory, bytes);
  if (!block || block->kind != MemoryKind::kDevice) {
    return refused("cudaMemsetAsync", cudaErrorInvalidValue,
                   "the bytes aren't within one block of device memory");
  }
  enqueue(*stream, [=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}
