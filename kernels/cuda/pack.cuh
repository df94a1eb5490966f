#pragma once

// Neighbouring elements that one instruction loads or stores: kernels of single
// elements take kWidth at a time, 4 or 1 (pack_launch.h).

#include "kernels/cuda/device.h"

namespace timepipe::cuda {

template <int kWidth, class A>
struct alignas(kWidth * sizeof(A)) Pack {
  A at[kWidth];
};

template <int kWidth, class A>
__device__ Pack<kWidth, Computed<A>> load(const A* from) {
  const auto pack = *reinterpret_cast<const Pack<kWidth, A>*>(from);
  Pack<kWidth, Computed<A>> x;
  TIMEPIPE_UNROLL
  for (int k = 0; k < kWidth; ++k) x.at[k] = widen(pack.at[k]);
  return x;
}

template <int kWidth, class A>
__device__ void save(A* to, const Pack<kWidth, Computed<A>>& x) {
  Pack<kWidth, A> pack;
  TIMEPIPE_UNROLL
  for (int k = 0; k < kWidth; ++k) pack.at[k] = stored<A>(x.at[k]);
  *reinterpret_cast<Pack<kWidth, A>*>(to) = pack;
}

// Calls f(i) for every kWidth-th i in [0, n); the grid's threads share them.
template <int kWidth, class F>
__device__ void for_packs(int64_t n, F&& f) {
  for (int64_t i = global_thread() * kWidth; i < n;
       i += global_threads() * kWidth) {
    f(i);
  }
}

}  // namespace timepipe::cuda
