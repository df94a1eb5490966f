#pragma once

// How kernels are launched and reach elements. For the sources of namespace
// timepipe::cuda (kernels/cuda/*.cc).

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernels/cuda/cuda_kernels.h"
#include "runtime/cuda/error.h"
#include "runtime/cuda/stream.h"
#include "runtime/elements.h"
#ifdef TIMEPIPE_HOST_CUDA
#include <hostcuda/launch.h>
#endif

namespace timepipe::cuda {

// The name of a kernel and its template arguments, in the compiler's words.
template <auto Kernel>
constexpr std::string_view kernel_name() {
  const std::string_view text = __PRETTY_FUNCTION__;
  const auto begin = text.find("Kernel = ") + 9;
  return text.substr(begin, text.find_first_of(";]", begin) - begin);
}

#ifdef TIMEPIPE_HOST_CUDA
// Tells the layer that the instance exists, so that it can say which were never
// launched.
template <auto Kernel>
struct Registered {
  Registered() { hostcuda::register_kernel(name()); }
  static const char* name() {
    static const std::string text(kernel_name<Kernel>());
    return text.c_str();
  }
  static inline Registered instance;
};

template <auto Kernel, class... P>
void enqueue(void (*)(P...), Context& ctx, int64_t blocks, int threads,
             int64_t shared_bytes, P... args) {
  const hostcuda::GridShape shape{dim3(static_cast<unsigned>(blocks)),
                                  dim3(static_cast<unsigned>(threads)),
                                  static_cast<std::size_t>(shared_bytes)};
  (void)Registered<Kernel>::instance;
  check(hostcuda::launch(Registered<Kernel>::name(), shape, cuda_stream(ctx),
                         [=] { Kernel(args...); }),
        Registered<Kernel>::name());
}
#else
template <auto Kernel, class... P>
void enqueue(void (*)(P...), Context& ctx, int64_t blocks, int threads,
             int64_t shared_bytes, P... args) {
  // More than every device gives without being asked.
  constexpr int64_t kUnasked = 48 << 10;
  if (shared_bytes > kUnasked) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(Kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          kernel_name<Kernel>());
  }
  void* pointers[] = {&args..., nullptr};
  check(cudaLaunchKernel(reinterpret_cast<const void*>(Kernel),
                         dim3(static_cast<unsigned>(blocks)),
                         dim3(static_cast<unsigned>(threads)), pointers,
                         static_cast<std::size_t>(shared_bytes),
                         cuda_stream(ctx)),
        kernel_name<Kernel>());
}
#endif

// Kernel(args...) in the order of the context's work, in blocks of so many
// threads that share so many bytes of dynamic shared memory; none: nothing.
template <auto Kernel, class... A>
void launch_shared(Context& ctx, int64_t blocks, int threads,
                   int64_t shared_bytes, A&&... args) {
  if (blocks == 0) return;
  enqueue<Kernel>(Kernel, ctx, blocks, threads, shared_bytes,
                  std::forward<A>(args)...);
}

template <auto Kernel, class... A>
void launch(Context& ctx, int64_t blocks, int threads, A&&... args) {
  launch_shared<Kernel>(ctx, blocks, threads, 0, std::forward<A>(args)...);
}

// For kernels that take element after element: blocks of kThreads for n of
// them, as many as keep any device busy.
inline constexpr int kThreads = 256;
inline int64_t blocks_for(int64_t n, int64_t per_block = kThreads) {
  constexpr int64_t kMost = 4096;
  return std::min((n + per_block - 1) / per_block, kMost);
}

// The first element, in the memory of the device. Throws InvalidArgument if T
// is not the element type, or if the tensor lies elsewhere.
template <class T>
T* device_elements(Tensor& tensor) {
  return ElementsAccess::on_device<T>(tensor);
}
template <class T>
const T* device_elements(const Tensor& tensor) {
  return ElementsAccess::on_device<T>(tensor);
}

}  // namespace timepipe::cuda
