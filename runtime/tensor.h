#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "runtime/bf16.h"
#include "runtime/device.h"
#include "runtime/error.h"

namespace timepipe {

enum class DType { kF32, kF64, kBF16, kI64 };

int64_t size_of(DType dtype);
std::optional<DType> dtype_named(const std::string& name);
const char* name_of(DType dtype);  // "f32", "f64", "bf16", "i64"

template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, double>) return DType::kF64;
  if constexpr (std::is_same_v<T, bf16>) return DType::kBF16;
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> ||
                std::is_same_v<T, bf16> || std::is_same_v<T, int64_t>);
  return DType::kI64;
}

// What elements of a type are computed with, and what sums, statistics and
// states beside them have: f32 beside bf16, else the same type.
template <class A>
using Wide = std::conditional_t<std::is_same_v<A, bf16>, float, A>;
inline DType wide(DType dtype) {
  return dtype == DType::kBF16 ? DType::kF32 : dtype;
}

int64_t numel_of(const Shape& shape);

using Bytes = std::span<std::byte>;
using ConstBytes = std::span<const std::byte>;

// A contiguous array in row-major order in the memory of a device. A Tensor is
// a handle: copying it copies the handle, not the elements. It has no
// arithmetic, and its elements can't be read here: kernels/ computes with them,
// runtime/transfer.h brings them to the host and back.
class Tensor {
 public:
  Tensor() = default;  // empty: no elements, shape [0]

  bool empty() const { return numel_ == 0; }
  Device device() const { return device_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t rank() const { return static_cast<int64_t>(shape_.size()); }
  int64_t dim(int64_t i) const { return shape_.at(i); }
  int64_t numel() const { return numel_; }
  int64_t size_bytes() const { return numel_ * size_of(dtype_); }

  // Rows [begin, end) of the leading dimension; shares memory and owner.
  Tensor slice(int64_t begin, int64_t end) const;
  // Same elements under another shape; shares memory and owner.
  Tensor reshape(Shape shape) const;
  // Whether both begin at the same element.
  bool same_memory(const Tensor& other) const { return data_ == other.data_; }

 private:
  friend class Context;          // makes them
  friend struct ElementsAccess;  // runtime/elements.h

  Tensor(std::shared_ptr<void> owner, Device device, DType dtype, Shape shape);

  std::shared_ptr<void> owner_;
  std::byte* data_ = nullptr;
  Device device_;
  DType dtype_ = DType::kF32;
  Shape shape_ = {0};
  int64_t numel_ = 0;
};

// Calls f with a zero of the tensor's floating type: here a run-time element
// type becomes a template argument.
//   dispatch(x.dtype(), [&](auto zero) { using T = decltype(zero); ... });
template <class F>
void dispatch(DType dtype, F&& f) {
  if (dtype == DType::kF32) return f(float{});
  if (dtype == DType::kF64) return f(double{});
  throw InvalidArgument(std::string("dtype: ") + name_of(dtype) +
                        ", expected f32 or f64");
}

// The same for a tensor that may be stored in bf16:
//   dispatch_stored(y.dtype(), [&](auto zero) {
//     using A = decltype(zero);
//     using T = Wide<A>; ...
template <class F>
void dispatch_stored(DType dtype, F&& f) {
  if (dtype == DType::kF32) return f(float{});
  if (dtype == DType::kF64) return f(double{});
  if (dtype == DType::kBF16) return f(bf16{});
  throw InvalidArgument(std::string("dtype: ") + name_of(dtype) +
                        ", expected f32, f64 or bf16");
}

}  // namespace timepipe
