#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "runtime/tensor.h"

namespace timepipe {

// Elements in the host's memory, with a shape and a type: of files, on their
// way to or from the memory of a device (runtime/transfer.h).
class HostArray {
 public:
  HostArray() = default;  // empty, shape [0]
  HostArray(HostArray&&) = default;
  HostArray& operator=(HostArray&&) = default;
  // The elements are yet to be written.
  HostArray(Shape shape, DType dtype);
  // In memory that somebody else made, of as many bytes or more.
  HostArray(Shape shape, DType dtype, std::shared_ptr<std::byte> memory);
  template <class T>
  HostArray(Shape shape, std::span<const T> values);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t numel() const { return numel_; }
  int64_t size_bytes() const { return numel_ * size_of(dtype_); }

  Bytes bytes() {
    return {memory_.get(), static_cast<std::size_t>(size_bytes())};
  }
  ConstBytes bytes() const {
    return {memory_.get(), static_cast<std::size_t>(size_bytes())};
  }
  // Throws InvalidArgument if T is not the element type.
  template <class T>
  std::span<T> values() {
    require_dtype(dtype_of<T>());
    return {reinterpret_cast<T*>(memory_.get()),
            static_cast<std::size_t>(numel_)};
  }
  template <class T>
  std::span<const T> values() const {
    require_dtype(dtype_of<T>());
    return {reinterpret_cast<const T*>(memory_.get()),
            static_cast<std::size_t>(numel_)};
  }

 private:
  void require_dtype(DType asked) const;

  std::shared_ptr<std::byte> memory_;
  DType dtype_ = DType::kF32;
  Shape shape_ = {0};
  int64_t numel_ = 0;
};

// The same numbers as f32, f64 or bf16. Throws InvalidArgument for others.
HostArray converted(const HostArray& from, DType dtype);

template <class T>
HostArray::HostArray(Shape shape, std::span<const T> values)
    : HostArray(std::move(shape), dtype_of<T>()) {
  require(std::ssize(values) == numel_, values.size(),
          " values, expected those of shape ", shape_);
  std::copy(values.begin(), values.end(), this->values<T>().begin());
}

}  // namespace timepipe
