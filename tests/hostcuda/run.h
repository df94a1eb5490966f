#pragma once

#include <hostcuda/engine.h>

#include <cstdint>
#include <vector>

namespace timepipe::cuda {

inline constexpr int64_t kSeeds[] = {0, 1, 2, 3, 4};

// kernel(arguments...) on blocks x threads.
template <class Kernel, class... A>
void run(int64_t seed, unsigned blocks, unsigned threads, std::size_t shared,
         Kernel kernel, A... arguments) {
  hostcuda::run_grid(
      "test", {dim3(blocks), dim3(threads), shared},
      [&] { kernel(arguments...); }, seed);
}

}  // namespace timepipe::cuda
