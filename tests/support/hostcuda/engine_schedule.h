#pragma once

// In which order the threads of a block, and the blocks of a grid, run.

#include <array>
#include <cstdint>

namespace hostcuda {

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed = 0) : state_(seed) {}
  uint64_t next();
  uint64_t below(uint64_t n) { return next() % n; }

 private:
  uint64_t state_;
};

class Schedule {
 public:
  // `launch` tells the launches of a program apart.
  void begin_grid(int64_t seed, uint64_t launch, uint64_t num_blocks);
  bool is_linear() const { return order_ == Order::kLinear; }

  // The block that comes i-th.
  uint64_t block(uint64_t i) const {
    return (first_ + i * step_) % num_blocks_;
  }

  // The rest is for orders other than the linear one.
  void begin_block(unsigned num_threads);
  void make_ready(unsigned thread);
  // Takes one of those that are ready; -1: there is none.
  int take();

 private:
  enum class Order { kLinear, kUniform, kWarpPriority };
  static constexpr unsigned kWarps = 32;

  Order order_ = Order::kLinear;
  Random random_;
  uint64_t num_blocks_ = 1, first_ = 0, step_ = 1;
  unsigned num_warps_ = 0;
  unsigned num_ready_ = 0;
  std::array<uint32_t, kWarps> ready_{};    // A bit for each lane.
  std::array<uint8_t, kWarps> preference_;  // Warps, first those that go first.
};

}  // namespace hostcuda
