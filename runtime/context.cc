#include "runtime/context.h"

#include <utility>

#include "runtime/transfer.h"
#ifdef TIMEPIPE_WITH_CUDA
#include "runtime/cuda/make_stream.h"
#endif

namespace timepipe {
namespace {

std::shared_ptr<Stream> make_stream(Device device, MemoryPool::Mode mode) {
  if (device == Device{} || mode == MemoryPool::Mode::kCount) return nullptr;
#ifdef TIMEPIPE_WITH_CUDA
  if (device.kind == Device::Kind::kCuda) {
    return cuda::make_stream(device.index);
  }
#endif
  throw InvalidArgument("device: " + to_string(device) +
                        ", expected cpu: this build has no CUDA "
                        "(TIMEPIPE_WITH_CUDA)");
}

}  // namespace

std::string to_string(Device device) {
  if (device.kind == Device::Kind::kCpu) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

Context::Context(Device device, MemoryPool::Mode mode)
    : device_(device),
      stream_(make_stream(device, mode)),
      pool_(mode, stream_) {}

Tensor Context::allocate(Shape shape, DType dtype, MemoryUse use) {
  int64_t n = size_of(dtype);
  for (const int64_t d : shape) n *= d;
  return Tensor(pool_.allocate(n, use), device_, dtype, std::move(shape));
}

Tensor Context::zeros(Shape shape, DType dtype, MemoryUse use) {
  Tensor t = allocate(std::move(shape), dtype, use);
  clear(*this, t);
  return t;
}

HostArray Context::pinned(Shape shape, DType dtype) {
  if (!stream_) return HostArray(std::move(shape), dtype);
  std::shared_ptr<std::byte> memory =
      stream_->pinned(numel_of(shape) * size_of(dtype));
  return HostArray(std::move(shape), dtype, std::move(memory));
}

}  // namespace timepipe
