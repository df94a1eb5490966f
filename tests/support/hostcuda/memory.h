#pragma once

#include <cstddef>
#include <optional>

namespace hostcuda {

enum class MemoryKind { kDevice, kPinned };

// One allocation: what cudaMalloc, cudaMallocAsync or cudaHostAlloc gave.
struct Block {
  char* begin;
  std::size_t bytes;
  MemoryKind kind;
  int device;     // That of device memory.
  bool in_arena;  // Device memory that the mode `protected` closes.
};

struct DeviceMemory {
  std::size_t free, total;
};

// A new block with an alignment of 256 bytes, not filled; null when the device
// has too little left.
void* new_block(MemoryKind kind, int device, std::size_t bytes);

// Fills new memory with NaN (all bits set): all of it, but of a block of more
// than 1 MiB in the mode `inline`, where time counts, only both ends.
void fill_with_nan(void* begin, std::size_t bytes);

// The block that holds all of the bytes, if there is one.
std::optional<Block> find_block(const void* begin, std::size_t bytes);

// Takes the block that begins here out of the table, so that no call accepts
// its memory any more; none if there is no such block.
std::optional<Block> forget_block(void* begin, MemoryKind kind);

// Gives its memory back: later accesses are errors to the sanitizers, and read
// NaN for a while without them.
void release_block(const Block& block);

DeviceMemory device_memory(int device);

// While one lives, this process may touch device memory in the mode
// `protected`: around kernels, copies and products.
class DeviceMemoryOpen {
 public:
  DeviceMemoryOpen();
  ~DeviceMemoryOpen();
  DeviceMemoryOpen(const DeviceMemoryOpen&) = delete;
  DeviceMemoryOpen& operator=(const DeviceMemoryOpen&) = delete;

 private:
  bool opened_;
};

}  // namespace hostcuda
