#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hostcuda {

// A copy of 16 bytes to shared memory that a thread has asked for.
struct Copy {
  void* to;
  const void* from;
  unsigned bytes;  // Read from there; the rest is zero.
  unsigned group;
};

// Those of a thread that it hasn't waited for yet, in groups.
struct CopyQueue {
  static constexpr unsigned kMost = 128;

  uint32_t begin = 0, end = 0;  // Modulo kMost: places.
  uint32_t open_group = 0;      // The one that the next copies belong to.

  bool empty() const { return begin == end; }
};

using CopyPlaces = std::array<Copy, CopyQueue::kMost>;

}  // namespace hostcuda
