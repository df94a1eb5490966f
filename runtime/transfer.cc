// Copies on the host's own device, and by the stream of another.

#include "runtime/transfer.h"

#include <cstring>
#include <utility>

#include "runtime/elements.h"

namespace timepipe {
namespace {

void require_alike(const char* what, DType from, int64_t from_bytes, DType to,
                   int64_t to_bytes) {
  require(from == to && from_bytes == to_bytes, what, " of ", from_bytes,
          " bytes of ", name_of(from), ", expected ", to_bytes, " of ",
          name_of(to));
}

void copy_bytes(ConstBytes from, Bytes to) {
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
}

void require_place(const Context& ctx, const Tensor& tensor) {
  require(tensor.empty() || tensor.device() == ctx.device(), "tensor of ",
          tensor.device(), ", expected one of ", ctx.device());
}

// Of a tensor on a device that isn't the host's own.
std::byte* address(const Tensor& tensor) {
  return ElementsAccess::memory(tensor);
}

}  // namespace

namespace internal {

void upload_bytes(Context& ctx, DType dtype, ConstBytes from, Tensor& to) {
  require_alike("upload", dtype, std::ssize(from), to.dtype(), to.size_bytes());
  require_place(ctx, to);
  const KernelScope scope(ctx);
  if (Stream* stream = ctx.stream()) {
    return stream->upload(from.data(), address(to), std::ssize(from));
  }
  copy_bytes(from, element_bytes(to));
}

void download_bytes(Context& ctx, const Tensor& from, DType dtype, Bytes to) {
  require_alike("download", from.dtype(), from.size_bytes(), dtype,
                std::ssize(to));
  require_place(ctx, from);
  const KernelScope scope(ctx);
  if (Stream* stream = ctx.stream()) {
    return stream->download(address(from), to.data(), std::ssize(to));
  }
  copy_bytes(element_bytes(from), to);
}

}  // namespace internal

void upload(Context& ctx, const HostArray& from, Tensor to) {
  internal::upload_bytes(ctx, from.dtype(), from.bytes(), to);
}

Tensor upload(Context& ctx, const HostArray& from, MemoryUse use) {
  Tensor to = ctx.allocate(from.shape(), from.dtype(), use);
  upload(ctx, from, to);
  return to;
}

HostArray download(Context& ctx, const Tensor& from) {
  HostArray to(from.shape(), from.dtype());
  internal::download_bytes(ctx, from, from.dtype(), to.bytes());
  return to;
}

Event download_later(Context& ctx, const Tensor& from, Bytes to) {
  Stream* stream = ctx.stream();
  if (stream == nullptr) {
    internal::download_bytes(ctx, from, from.dtype(), to);
    return {};
  }
  require_alike("download", from.dtype(), from.size_bytes(), from.dtype(),
                std::ssize(to));
  require_place(ctx, from);
  const KernelScope scope(ctx);
  stream->download_later(address(from), to.data(), std::ssize(to));
  return ctx.record();
}

void copy(Context& ctx, const Tensor& from, Tensor to) {
  require_alike("copy", from.dtype(), from.size_bytes(), to.dtype(),
                to.size_bytes());
  require_place(ctx, from);
  require_place(ctx, to);
  if (from.same_memory(to)) return;
  const KernelScope scope(ctx);
  if (Stream* stream = ctx.stream()) {
    return stream->copy(address(from), address(to), to.size_bytes());
  }
  copy_bytes(element_bytes(from), element_bytes(to));
}

Tensor copy(Context& ctx, const Tensor& from) {
  if (from.empty()) return {};
  Tensor to = ctx.allocate(from.shape(), from.dtype());
  copy(ctx, from, to);
  return to;
}

void clear(Context& ctx, Tensor to) {
  if (ElementsAccess::memory(to) == nullptr) return;  // of a plan
  require_place(ctx, to);
  const KernelScope scope(ctx);
  if (Stream* stream = ctx.stream()) {
    return stream->clear(address(to), to.size_bytes());
  }
  const Bytes bytes = element_bytes(to);
  std::memset(bytes.data(), 0, bytes.size());
}

TransportBytes::TransportBytes(const Tensor& tensor) : tensor_(tensor) {
  require(tensor.device() == Device{}, "transport: a tensor of ",
          tensor.device(), ", expected one of cpu");
  bytes_ = {ElementsAccess::memory(tensor_),
            static_cast<std::size_t>(tensor.size_bytes())};
  MemoryGuard::hold(bytes_.data(), std::ssize(bytes_));
}

TransportBytes::~TransportBytes() {
  MemoryGuard::release(bytes_.data(), std::ssize(bytes_));
}

TransportBytes::TransportBytes(TransportBytes&& other) noexcept
    : tensor_(std::move(other.tensor_)),
      bytes_(std::exchange(other.bytes_, {})) {}

TransportBytes& TransportBytes::operator=(TransportBytes&& other) noexcept {
  std::swap(tensor_, other.tensor_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace timepipe
