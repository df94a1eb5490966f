#include "runtime/host_array.h"

#include <new>

#include "runtime/memory_pool.h"

namespace timepipe {
namespace {

constexpr auto kAlignment = std::align_val_t{MemoryPool::kAlignment};

}  // namespace

void HostArray::Free::operator()(std::byte* memory) const {
  ::operator delete[](memory, kAlignment);
}

HostArray::HostArray(Shape shape, DType dtype)
    : dtype_(dtype), shape_(std::move(shape)), numel_(numel_of(shape_)) {
  memory_.reset(static_cast<std::byte*>(
      ::operator new[](static_cast<std::size_t>(size_bytes()), kAlignment)));
}

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
