#pragma once

// Which device's kernels a front calls. For kernels/*.cc.

#include "kernels/cpu/cpu_kernels.h"
#ifdef TIMEPIPE_WITH_CUDA
#include "kernels/cuda/cuda_kernels.h"
#include "runtime/cuda/range.h"
#endif

// TIMEPIPE_KERNEL(ctx, name, args...): name(ctx, args...) of the device of ctx.
// TIMEPIPE_OF_DEVICE(device, name, args...): name(args...) of the device.
#ifdef TIMEPIPE_WITH_CUDA
#define TIMEPIPE_OF_DEVICE(device, name, ...)       \
  ((device).kind == ::timepipe::Device::Kind::kCuda \
       ? ::timepipe::cuda::name(__VA_ARGS__)        \
       : ::timepipe::cpu::name(__VA_ARGS__))
#define TIMEPIPE_KERNEL(ctx, name, ...)                            \
  ((ctx).device().kind == ::timepipe::Device::Kind::kCuda          \
       ? (::timepipe::cuda::OperationRange(#name),                 \
          ::timepipe::cuda::name((ctx)__VA_OPT__(, ) __VA_ARGS__)) \
       : ::timepipe::cpu::name((ctx)__VA_OPT__(, ) __VA_ARGS__))
#else
#define TIMEPIPE_OF_DEVICE(device, name, ...) \
  ((void)(device), ::timepipe::cpu::name(__VA_ARGS__))
#define TIMEPIPE_KERNEL(ctx, name, ...) \
  ::timepipe::cpu::name((ctx)__VA_OPT__(, ) __VA_ARGS__)
#endif
