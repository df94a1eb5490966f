// Random numbers by Philox, and arrays filled with them.

#include "runtime/rng.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "runtime/parallel_for.h"

namespace timepipe {
namespace {

constexpr int64_t kPiece = 4096;

using Words = std::array<uint32_t, 4>;

// Salmon et al. 2011, section 4.3 and table 2: block `n` of a stream.
Words philox4x32_10(uint64_t key, uint64_t stream, uint64_t n) {
  auto k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  Words c = {static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32),
             static_cast<uint32_t>(stream),
             static_cast<uint32_t>(stream >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

uint64_t join(uint32_t low, uint32_t high) {
  return uint64_t{high} << 32 | low;
}

double to_unit(uint64_t bits) {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

// x[i] = f(i).
template <class F>
void fill(HostArray& x, F&& f) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const std::span<T> values = x.values<T>();
    parallel_pieces(x.numel(), kPiece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] = static_cast<T>(f(i));
    });
  });
}

}  // namespace

Rng::Rng(uint64_t seed, std::string_view stream)
    : Rng(seed, XXH64(stream.data(), stream.size(), 0)) {}

uint64_t Rng::bits(uint64_t n) const {
  const Words words = philox4x32_10(seed_, stream_, n);
  return join(words[0], words[1]);
}

double Rng::uniform(uint64_t n) const { return to_unit(bits(n)); }

double Rng::normal(uint64_t n) const {
  const Words words = philox4x32_10(seed_, stream_, n);
  const double u = 1 - to_unit(join(words[0], words[1]));  // in (0,1]
  const double v = to_unit(join(words[2], words[3]));
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

void fill_normal(const Rng& rng, double deviation, HostArray& x) {
  fill(x, [&](int64_t i) { return deviation * rng.normal(i); });
}

void fill_truncated_normal(const Rng& rng, double deviation, HostArray& x) {
  // sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)): the deviation after the cut.
  constexpr double kCutDeviation = 0.87962566103423978;
  constexpr uint64_t kTry = uint64_t{1} << 48;  // more than any size of x
  const double scale = deviation / kCutDeviation;
  fill(x, [&](int64_t i) {
    auto n = static_cast<uint64_t>(i);
    while (std::abs(rng.normal(n)) > 2) n += kTry;
    return scale * rng.normal(n);
  });
}

void fill_uniform(const Rng& rng, double bound, HostArray& x) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    // Numbers that would round to `bound` in T become the next smaller one:
    // `bound` itself never occurs.
    const double largest = std::nextafter(static_cast<T>(bound), T{0});
    fill(x, [&](int64_t i) {
      return std::min(bound * (2 * rng.uniform(i) - 1), largest);
    });
  });
}

// A Feistel network is a permutation of [0, 4^half_bits), whatever its round
// function; walking along its cycle until inside makes it one of [0, size)
// (Black & Rogaway 2002, section 4). Fewer than four steps on average.
int64_t permuted_index(const Rng& rng, int64_t i, int64_t size) {
  require(0 <= i && i < size, "permuted_index: ", i,
          ", expected 0 to size - 1 = ", size - 1);
  constexpr uint64_t kRounds = 8;
  const int bits = std::bit_width(static_cast<uint64_t>(size - 1));
  const int half_bits = std::max(1, (bits + 1) / 2);
  const uint64_t mask = (uint64_t{1} << half_bits) - 1;
  auto x = static_cast<uint64_t>(i);
  do {
    uint64_t left = x >> half_bits, right = x & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t mixed = left ^ (rng.bits(round << 32 | right) & mask);
      left = right;
      right = mixed;
    }
    x = left << half_bits | right;
  } while (x >= static_cast<uint64_t>(size));
  return static_cast<int64_t>(x);
}

}  // namespace timepipe
