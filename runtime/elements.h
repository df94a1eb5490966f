#pragma once

// The elements of tensors that lie in the host's memory. Only kernels/ and
// runtime/transfer.cc include this (tests/layering.sh).

#include <string>

#include "runtime/context.h"

namespace timepipe {

// A kernel or a transfer runs as long as this lives: only meanwhile can
// elements be reached.
class KernelScope {
 public:
  explicit KernelScope(Context& ctx) : guard_(ctx.pool().guard()) {
    ctx.count_kernel();
    guard_.enter();
  }
  ~KernelScope() { guard_.leave(); }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  MemoryGuard& guard_;
};

struct ElementsAccess {
  static std::byte* memory(const Tensor& tensor) { return tensor.data_; }

  static std::byte* open(const Tensor& tensor) {
    if constexpr (kGuardsMemory) {
      MemoryGuard::open(tensor.data_, tensor.size_bytes());
    }
    return tensor.data_;
  }

  template <class T>
  static T* open_as(const Tensor& tensor) {
    require_elements<T>(tensor, Device::Kind::kCpu);
    return reinterpret_cast<T*>(open(tensor));
  }

  // An address of the device, which the host can't read.
  template <class T>
  static T* on_device(const Tensor& tensor) {
    require_elements<T>(tensor, Device::Kind::kCuda);
    return reinterpret_cast<T*>(tensor.data_);
  }

 private:
  template <class T>
  static void require_elements(const Tensor& tensor, Device::Kind place) {
    if (tensor.dtype_ != dtype_of<T>()) {
      throw InvalidArgument(std::string("tensor of dtype ") +
                            name_of(tensor.dtype_) + " read as " +
                            name_of(dtype_of<T>()));
    }
    if (tensor.device_.kind != place && !tensor.empty()) {
      throw InvalidArgument("tensor of " + to_string(tensor.device_) +
                            " read by a kernel of another device");
    }
  }
};

// The first of them. Throws InvalidArgument if T is not the element type.
template <class T>
T* elements(Tensor& tensor) {
  return ElementsAccess::open_as<T>(tensor);
}
template <class T>
const T* elements(const Tensor& tensor) {
  return ElementsAccess::open_as<T>(tensor);
}

// All of them, whatever they are.
inline Bytes element_bytes(Tensor& tensor) {
  return {ElementsAccess::open(tensor),
          static_cast<std::size_t>(tensor.size_bytes())};
}
inline ConstBytes element_bytes(const Tensor& tensor) {
  return {ElementsAccess::open(tensor),
          static_cast<std::size_t>(tensor.size_bytes())};
}

}  // namespace timepipe
