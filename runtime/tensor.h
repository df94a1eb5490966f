#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "runtime/error.h"

namespace timepipe {

enum class DType { kF32, kF64, kI64 };

int64_t size_of(DType dtype);
const char* name_of(DType dtype);  // "f32", "f64", "i64"

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, double>) return DType::kF64;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> ||
                std::is_same_v<T, int64_t>);
  return DType::kI64;
}

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// A contiguous array in row-major order. A Tensor is a handle: copying it
// copies the handle, not the elements. It has no arithmetic; see kernels/.
class Tensor {
 public:
  Tensor() = default;  // empty: no elements, shape [0]

  // `owner` keeps `data` alive; null for a view of memory kept by others.
  Tensor(std::shared_ptr<void> owner, void* data, DType dtype, Shape shape);

  static Tensor view(void* data, DType dtype, Shape shape);
  // Read-only memory as a tensor that is used as an input only.
  static Tensor view(const void* data, DType dtype, Shape shape);

  bool empty() const { return numel_ == 0; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t i) const { return shape_.at(i); }
  int64_t numel() const { return numel_; }
  int64_t size_bytes() const { return numel_ * size_of(dtype_); }

  // Throws InvalidArgument if T is not the element type.
  template <class T>
  T* data() {
    require_dtype(dtype_of<T>());
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* data() const {
    require_dtype(dtype_of<T>());
    return static_cast<const T*>(data_);
  }

  Bytes bytes() {
    return {static_cast<std::byte*>(data_),
            static_cast<std::size_t>(size_bytes())};
  }
  ConstBytes bytes() const {
    return {static_cast<const std::byte*>(data_),
            static_cast<std::size_t>(size_bytes())};
  }

  // Rows [begin, end) of the leading dimension; shares memory and owner.
  Tensor slice(int64_t begin, int64_t end) const;
  // Same elements under another shape; shares memory and owner.
  Tensor reshape(Shape shape) const;

 private:
  void require_dtype(DType asked) const;

  std::shared_ptr<void> owner_;
  void* data_ = nullptr;
  DType dtype_ = DType::kF32;
  Shape shape_ = {0};
  int64_t numel_ = 0;
};

// Copies the elements of `from` to `to`, which has as many; f32 and f64 are
// converted. Throws InvalidArgument if their numbers differ.
void convert(const Tensor& from, Tensor to);

// Calls f with a zero of the tensor's floating type: the one place where a
// run-time element type becomes a template argument.
//   dispatch(x.dtype(), [&](auto zero) { using T = decltype(zero); ... });
template <class F>
void dispatch(DType dtype, F&& f) {
  if (dtype == DType::kF32) return f(float{});
  if (dtype == DType::kF64) return f(double{});
  throw InvalidArgument(std::string("dtype: ") + name_of(dtype) +
                        ", expected f32 or f64");
}

}  // namespace timepipe
