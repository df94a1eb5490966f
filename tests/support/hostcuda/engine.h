#pragma once

// Runs a kernel's threads on the CPU, each as a fiber of the calling OS thread.

#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>

namespace hostcuda {

struct GridShape {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;  // Dynamic shared memory of a block.
};

// Runs every thread of the grid on this OS thread, block after block; `kernel`
// calls the kernel function with its arguments. Ends the process with one line
// on stderr when a thread breaks a rule of the programming model.
void run_grid(const char* name, const GridShape& shape,
              const std::function<void()>& kernel);

// The same in the order of threads that a seed stands for. 0: a warp goes on as
// far as it can, then the next. Even: any thread that can go on, at random.
// Odd: as 0, with the warps in random order of preference. But for 0 the blocks
// come in random order.
void run_grid(const char* name, const GridShape& shape,
              const std::function<void()>& kernel, int64_t seed);

}  // namespace hostcuda
