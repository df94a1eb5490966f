#include "runtime/tensor.h"

#include <algorithm>
#include <utility>

namespace timepipe {
namespace {

int64_t product(const Shape& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

}  // namespace

int64_t size_of(DType dtype) { return dtype == DType::kF32 ? 4 : 8; }

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kI64:
      return "i64";
  }
  return "?";
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (const int64_t d : shape) {
    if (text.size() > 1) text += ',';
    text += std::to_string(d);
  }
  return text + "]";
}

void require(bool condition, const std::string& message) {
  if (!condition) throw InvalidArgument(message);
}

void require_shape(const char* name, const Tensor& tensor,
                   const Shape& expected) {
  if (tensor.shape() == expected) return;
  throw InvalidArgument(std::string(name) + ": shape " +
                        to_string(tensor.shape()) + ", expected " +
                        to_string(expected));
}

void require_same_dtype(const char* name, const Tensor& tensor,
                        const Tensor& like) {
  if (tensor.dtype() == like.dtype()) return;
  throw InvalidArgument(std::string(name) + ": dtype " +
                        name_of(tensor.dtype()) + ", expected " +
                        name_of(like.dtype()));
}

Tensor::Tensor(std::shared_ptr<void> owner, void* data, DType dtype,
               Shape shape)
    : owner_(std::move(owner)),
      data_(data),
      dtype_(dtype),
      shape_(std::move(shape)),
      numel_(product(shape_)) {}

Tensor Tensor::view(void* data, DType dtype, Shape shape) {
  return Tensor(nullptr, data, dtype, std::move(shape));
}

Tensor Tensor::view(const void* data, DType dtype, Shape shape) {
  return Tensor(nullptr, const_cast<void*>(data), dtype, std::move(shape));
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  require(0 <= begin && begin <= end && end <= dim(0),
          "slice [" + std::to_string(begin) + "," + std::to_string(end) +
              ") of a tensor of shape " + to_string(shape_));
  Shape shape = shape_;
  const int64_t row = dim(0) == 0 ? 0 : numel_ / dim(0);
  shape[0] = end - begin;
  return Tensor(owner_,
                static_cast<std::byte*>(data_) + begin * row * size_of(dtype_),
                dtype_, std::move(shape));
}

Tensor Tensor::reshape(Shape shape) const {
  require(product(shape) == numel_, "reshape of " + to_string(shape_) + " to " +
                                        to_string(shape) +
                                        ": number of elements differs");
  return Tensor(owner_, data_, dtype_, std::move(shape));
}

void Tensor::require_dtype(DType asked) const {
  if (asked == dtype_) return;
  throw InvalidArgument(std::string("tensor of dtype ") + name_of(dtype_) +
                        " read as " + name_of(asked));
}

void convert(const Tensor& from, Tensor to) {
  require(from.numel() == to.numel(), "copy of " + to_string(from.shape()) +
                                          " to " + to_string(to.shape()) +
                                          ": number of elements differs");
  dispatch(from.dtype(), [&](auto a) {
    dispatch(to.dtype(), [&](auto b) {
      using A = decltype(a);
      using B = decltype(b);
      std::transform(from.data<A>(), from.data<A>() + from.numel(),
                     to.data<B>(), [](A v) { return static_cast<B>(v); });
    });
  });
}

}  // namespace timepipe
