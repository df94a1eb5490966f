#pragma once

// What the launch code of the TTT kernels shares, scan and decoding.

#include "kernels/cuda/launch.h"
#include "kernels/cuda/ttt_arguments.cuh"
#include "kernels/ttt_scan.h"

namespace timepipe::cuda::ttt {

// Small heads leave most of a large block without work at its barriers.
inline int threads_for(const TttShape& shape) {
  return shape.head_size <= 32 ? 64 : kMostThreads;
}

// Null if it is empty.
template <class T, class X>
auto elements_or_null(X& x) {
  return x.empty() ? nullptr : device_elements<T>(x);
}

template <class T>
Activations<const T> activations(const Tensor& x) {
  if constexpr (std::is_same_v<T, float>) {
    if (x.dtype() == DType::kBF16) return {nullptr, device_elements<bf16>(x)};
  }
  return {device_elements<T>(x), nullptr};
}
template <class T>
Activations<T> activations(Tensor& x) {
  if constexpr (std::is_same_v<T, float>) {
    if (x.dtype() == DType::kBF16) return {nullptr, device_elements<bf16>(x)};
  }
  return {device_elements<T>(x), nullptr};
}

// Args: of either kernel.
template <class T, class Args>
Inputs<T> inputs_of(const Args& args) {
  return {activations<T>(args.xq),      activations<T>(args.xk),
          activations<T>(args.xv),      device_elements<T>(args.lr),
          device_elements<T>(args.tok), device_elements<T>(args.ln_w),
          device_elements<T>(args.ln_b)};
}

// As dispatch(), with the inner model as a second template argument:
//   dispatch_model(shape, dtype, [&](auto zero, auto model) {
//     using T = decltype(zero);
//     using Model = typename decltype(model)::type;
template <class F>
void dispatch_model(const TttShape& shape, DType dtype, F&& f) {
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    if (shape.inner == InnerModel::kLinear) {
      f(zero, std::type_identity<LinearModel<T>>{});
    } else {
      f(zero, std::type_identity<MlpModel<T>>{});
    }
  });
}

// Elements that blocks take for themselves: in shared memory, if they fit.
template <class T>
class ScratchOfBlocks {
 public:
  // What every device from compute capability 8.0 on gives a block.
  static constexpr int64_t kSharedBytes = 96 << 10;

  ScratchOfBlocks(Context& ctx, int64_t blocks, int64_t size) : size_(size) {
    if (!is_shared()) scratch_ = ctx.allocate({blocks * size}, dtype_of<T>());
  }

  // Null: in shared memory.
  T* elements() { return is_shared() ? nullptr : device_elements<T>(scratch_); }
  int64_t shared_bytes() const { return is_shared() ? bytes(1, size_) : 0; }

  // Taken from the memory of the device.
  static int64_t device_bytes(int64_t blocks, int64_t size) {
    return bytes(1, size) <= kSharedBytes ? 0 : bytes(blocks, size);
  }

 private:
  static int64_t bytes(int64_t blocks, int64_t size) {
    return blocks * size * static_cast<int64_t>(sizeof(T));
  }
  bool is_shared() const { return bytes(1, size_) <= kSharedBytes; }

  int64_t size_;
  Tensor scratch_;
};

}  // namespace timepipe::cuda::ttt
