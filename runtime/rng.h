#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/host_array.h"

namespace timepipe {

// Counter-based random numbers (Philox4x32-10, Salmon et al. 2011): the n-th
// number of a stream is a pure function of (seed, stream, n), so that any rank
// or thread can make any of them.
class Rng {
 public:
  Rng(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}
  // Stream named by a text, such as a parameter's name.
  Rng(uint64_t seed, std::string_view stream);

  uint64_t bits(uint64_t n) const;
  double uniform(uint64_t n) const;  // in [0,1), 53 bits
  double normal(uint64_t n) const;   // mean 0, deviation 1 (Box-Muller)

 private:
  uint64_t seed_, stream_;
};

// x[i] = deviation * normal(i).
void fill_normal(const Rng& rng, double deviation, HostArray& x);
// Normal cut at +-2 deviations of the uncut one and rescaled so that the
// result has the given deviation (flax's truncated initialisers).
void fill_truncated_normal(const Rng& rng, double deviation, HostArray& x);
// x[i] uniform in [-bound, bound).
void fill_uniform(const Rng& rng, double bound, HostArray& x);

// The i-th element of a pseudo-random permutation of [0, size).
int64_t permuted_index(const Rng& rng, int64_t i, int64_t size);

}  // namespace timepipe
