#include "runtime/tensor.h"

#include <algorithm>
#include <utility>

namespace timepipe {
int64_t numel_of(const Shape& shape) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 2;
    case DType::kF32:
      return 4;
    case DType::kF64:
    case DType::kI64:
      return 8;
  }
  return 0;
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF64:
      return "f64";
    case DType::kBF16:
      return "bf16";
    case DType::kI64:
      return "i64";
  }
  return "?";
}

std::optional<DType> dtype_named(const std::string& name) {
  for (const DType dtype :
       {DType::kF32, DType::kF64, DType::kBF16, DType::kI64}) {
    if (name == name_of(dtype)) return dtype;
  }
  return std::nullopt;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (const int64_t d : shape) {
    if (text.size() > 1) text += ',';
    text += std::to_string(d);
  }
  return text + "]";
}

void internal::refuse(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string& part : parts) text += part;
  throw InvalidArgument(text);
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

Tensor::Tensor(std::shared_ptr<void> owner, Device device, DType dtype,
               Shape shape)
    : owner_(std::move(owner)),
      data_(static_cast<std::byte*>(owner_.get())),
      device_(device),
      dtype_(dtype),
      shape_(std::move(shape)),
      numel_(numel_of(shape_)) {}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  require(0 <= begin && begin <= end && end <= dim(0), "slice [", begin, ",",
          end, ") of a tensor of shape ", shape_);
  const int64_t row = dim(0) == 0 ? 0 : numel_ / dim(0);
  Tensor rows = *this;
  rows.data_ += begin * row * size_of(dtype_);
  rows.shape_[0] = end - begin;
  rows.numel_ = (end - begin) * row;
  return rows;
}

Tensor Tensor::reshape(Shape shape) const {
  require(numel_of(shape) == numel_, "reshape of ", shape_, " to ", shape,
          ": number of elements differs");
  Tensor reshaped = *this;
  reshaped.shape_ = std::move(shape);
  return reshaped;
}

}  // namespace timepipe
