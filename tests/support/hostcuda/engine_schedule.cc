#include <hostcuda/engine_schedule.h>

#include <bit>
#include <numeric>
#include <utility>

namespace hostcuda {

uint64_t Random::next() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

void Schedule::begin_grid(int64_t seed, uint64_t launch, uint64_t num_blocks) {
  order_ = seed == 0       ? Order::kLinear
           : seed % 2 == 0 ? Order::kUniform
                           : Order::kWarpPriority;
  num_blocks_ = num_blocks;
  first_ = 0;
  step_ = 1;
  if (is_linear()) return;
  random_ = Random(static_cast<uint64_t>(seed) << 32 ^ launch);
  random_ = Random(random_.next());
  // A step without a common divisor reaches every block once; below 2^31 the
  // product can't overflow, and larger grids go through in order.
  if (num_blocks >= uint64_t{1} << 31) return;
  first_ = random_.below(num_blocks);
  do {
    step_ = 1 + random_.below(num_blocks);
  } while (std::gcd(step_, num_blocks) != 1);
}

void Schedule::begin_block(unsigned num_threads) {
  num_warps_ = (num_threads + 31) / 32;
  num_ready_ = num_threads;
  for (unsigned w = 0; w < num_warps_; ++w) {
    const unsigned lanes = num_threads - 32 * w;
    ready_[w] = lanes >= 32 ? ~uint32_t{0} : (uint32_t{1} << lanes) - 1;
    // Where the shuffle of the warps before puts this one.
    const auto place = static_cast<unsigned>(random_.below(w + 1));
    preference_[w] = preference_[place];
    preference_[place] = static_cast<uint8_t>(w);
  }
}

void Schedule::make_ready(unsigned thread) {
  ready_[thread / 32] |= uint32_t{1} << thread % 32;
  ++num_ready_;
}

int Schedule::take() {
  if (num_ready_ == 0) return -1;
  unsigned warp = 0;
  unsigned skipped = 0;  // Ready lanes of that warp that are passed over.
  if (order_ == Order::kUniform) {
    skipped = static_cast<unsigned>(random_.below(num_ready_));
    for (;; ++warp) {
      const auto lanes = static_cast<unsigned>(std::popcount(ready_[warp]));
      if (skipped < lanes) break;
      skipped -= lanes;
    }
  } else {
    const uint8_t* first = preference_.data();
    while (ready_[*first] == 0) ++first;
    warp = *first;
  }
  uint32_t lanes = ready_[warp];
  while (skipped-- > 0) lanes &= lanes - 1;
  const auto lane = static_cast<unsigned>(std::countr_zero(lanes));
  ready_[warp] &= ~(uint32_t{1} << lane);
  --num_ready_;
  return static_cast<int>(32 * warp + lane);
}

}  // namespace hostcuda
