#pragma once

// Elements between the host and the memory of a device, and inside it, in the
// order of the context's work. Ranges are slices of tensors.

#include <span>
#include <string>
#include <vector>

#include "runtime/context.h"

namespace timepipe {

// `from` is free again when this returns. Throw InvalidArgument unless both
// have as many elements of one type.
template <class T>
void upload(Context& ctx, std::span<const T> from, Tensor to);
void upload(Context& ctx, const HostArray& from, Tensor to);
Tensor upload(Context& ctx, const HostArray& from,
              MemoryUse use = MemoryUse::kScratch);

// Return when `to` is there.
template <class T>
void download(Context& ctx, const Tensor& from, std::span<T> to);
HostArray download(Context& ctx, const Tensor& from);
// As above, but returns at once; `to` is pinned memory, of as many bytes, and
// there when the event is over.
Event download_later(Context& ctx, const Tensor& from, Bytes to);

// From tensor to tensor, of as many elements of one type.
void copy(Context& ctx, const Tensor& from, Tensor to);
// Scratch with the same elements; empty if `from` is.
Tensor copy(Context& ctx, const Tensor& from);
// All elements become zero.
void clear(Context& ctx, Tensor to);

// The memory of a tensor of the host's own device for a transport, which reads
// or fills it beside the host's work; open as long as this lives.
class TransportBytes {
 public:
  explicit TransportBytes(const Tensor& tensor);
  ~TransportBytes();
  TransportBytes(TransportBytes&& other) noexcept;
  TransportBytes& operator=(TransportBytes&& other) noexcept;

  Bytes get() const { return bytes_; }

 private:
  Tensor tensor_;  // stays
  Bytes bytes_;
};

// Implementation -------------------------------------------------------------

namespace internal {
void upload_bytes(Context& ctx, DType dtype, ConstBytes from, Tensor& to);
void download_bytes(Context& ctx, const Tensor& from, DType dtype, Bytes to);
}  // namespace internal

template <class T>
void upload(Context& ctx, std::span<const T> from, Tensor to) {
  internal::upload_bytes(ctx, dtype_of<T>(), std::as_bytes(from), to);
}

template <class T>
void download(Context& ctx, const Tensor& from, std::span<T> to) {
  internal::download_bytes(ctx, from, dtype_of<T>(),
                           std::as_writable_bytes(to));
}

}  // namespace timepipe
