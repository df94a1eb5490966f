#pragma once

// What device code reads of the thread that runs, and asks the engine for.

#include <vector_types.h>

#include <cstddef>

namespace hostcuda {

struct CurrentThread {
  uint3 index;  // threadIdx
};

struct CurrentBlock {
  uint3 index;     // blockIdx
  dim3 block_dim;  // blockDim
  dim3 grid_dim;   // gridDim
};

// Of this OS thread, while it runs a grid.
extern constinit thread_local CurrentThread* current_thread;
extern constinit thread_local CurrentBlock current_block;

// All threads of the block wait for each other.
void block_barrier(const char* file, int line);

// The current block's array that the declaration at `site` makes.
void* shared_array(const void* site, std::size_t bytes);
// What the launch asked for.
void* dynamic_shared();

}  // namespace hostcuda
