#include <hostcuda/launch.h>
#include <hostcuda/order.h>
#include <hostcuda/registry.h>
#include <hostcuda/runtime_api.h>

#include <cstdint>
#include <utility>

namespace hostcuda {
namespace {

// Null, or the limit of CUDA's devices that the shape exceeds.
const char* exceeded(const GridShape& shape) {
  const auto [bx, by, bz] = shape.blocks;
  const auto [tx, ty, tz] = shape.threads;
  if (bx == 0 || by == 0 || bz == 0) return "a grid without blocks";
  if (tx == 0 || ty == 0 || tz == 0) return "a block without threads";
  if (bx > 0x7fffffff) return "more than 2^31 - 1 blocks in x";
  if (by > 65535 || bz > 65535) return "more than 65535 blocks in y or z";
  if (tx > 1024 || ty > 1024) return "more than 1024 threads in x or y";
  if (tz > 64) return "more than 64 threads in z";
  if (uint64_t{tx} * ty * tz > 1024) return "more than 1024 threads in a block";
  return nullptr;
}

}  // namespace

cudaError_t launch(const char* name, const GridShape& shape,
                   cudaStream_t handle, std::function<void()> kernel) {
  const Unseen unseen;
  cudaError_t error;
  const Stream stream = usable_stream(name, handle, &error);
  if (stream == nullptr) return error;
  if (stream->device != current_device()) {
    return refused(name, cudaErrorInvalidResourceHandle,
                   "the stream is one of another device than the current one");
  }
  if (const char* limit = exceeded(shape)) {
    return refused(name, cudaErrorInvalidConfiguration, limit);
  }
  if (shape.shared_bytes > max_shared_bytes()) {
    return refused(name, cudaErrorInvalidValue,
                   "more shared memory than a block may have");
  }
  count_launch(name);
  enqueue(*stream, [name, shape, kernel = std::move(kernel)] {
    run_grid(name, shape, kernel);
  });
  return cudaSuccess;
}

}  // namespace hostcuda
