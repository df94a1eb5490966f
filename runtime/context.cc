#include "runtime/context.h"

#include <utility>

#include "runtime/transfer.h"

namespace timepipe {

std::string to_string(Device device) {
  if (device.kind == Device::Kind::kCpu) return "cpu";
  return "cuda:" + std::to_string(device.index);
}

Context::Context(Device device, MemoryPool::Mode mode)
    : device_(device), pool_(mode) {
  require(device == Device{}, "device: ", device,
          ", expected cpu: this build has no other");
}

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
  return HostArray(std::move(shape), dtype);
}

}  // namespace timepipe
