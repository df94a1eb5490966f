#include "runtime/host_array.h"

#include <new>

#include "runtime/memory_pool.h"

namespace timepipe {
namespace {

constexpr auto kAlignment = std::align_val_t{MemoryPool::kAlignment};

struct Free {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, kAlignment);
  }
};

std::shared_ptr<std::byte> take(int64_t bytes) {
  return {static_cast<std::byte*>(
              ::operator new[](static_cast<std::size_t>(bytes), kAlignment)),
          Free{}};
}

}  // namespace

HostArray::HostArray(Shape shape, DType dtype)
    : HostArray(shape, dtype, take(numel_of(shape) * size_of(dtype))) {}

HostArray::HostArray(Shape shape, DType dtype,
                     std::shared_ptr<std::byte> memory)
    : memory_(std::move(memory)),
      dtype_(dtype),
      shape_(std::move(shape)),
      numel_(numel_of(shape_)) {}

void HostArray::require_dtype(DType asked) const {
  if (asked == dtype_) return;
  throw InvalidArgument(std::string("array of dtype ") + name_of(dtype_) +
                        " read as " + name_of(asked));
}

HostArray converted(const HostArray& from, DType dtype) {
  HostArray to(from.shape(), dtype);
  dispatch_stored(from.dtype(), [&](auto a) {
    dispatch_stored(dtype, [&](auto b) {
      using A = decltype(a);
      using B = decltype(b);
      std::ranges::transform(from.values<A>(), to.values<B>().begin(),
                             [](A v) { return static_cast<B>(v); });
    });
  });
  return to;
}

}  // namespace timepipe
