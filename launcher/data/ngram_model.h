#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace timepipe {

// An interpolated n-gram model of bytes with modified Kneser-Ney smoothing
// (Chen & Goodman 1999), the baseline beside which a model's bits per byte are
// told. All its constants come from counts of the text that it learns from. For
// a byte b after the k - 1 bytes c, at order k,
//   P_k(b | c) = (n(cb) - D(n(cb)) + (D1 N1(c) + D2 N2(c) + D3 N3(c))
//                P_k-1(b | c without its first byte)) / n(c),
// P_0 = 1/256; if n(c) = 0, P_k-1. At the highest order n(cb) is how often cb
// occurs, below it before how many different bytes cb occurs;
// n(c) = sum_b n(cb); Nj(c) counts the b with n(cb) = j, or >= 3 for j = 3.
// With n_j the number of cb with n(cb) = j and Y = n_1 / (n_1 + 2 n_2):
// D(0) = 0 and D(j) = Dj = j - (j + 1) Y n_(j+1) / n_j for j = 1, 2, 3 (or
// more). Where that isn't defined or not in (0, j], all three are Y, or 1/2
// without n_1 and n_2.
class NgramModel {
 public:
  static constexpr int kMostOrder = 8;
  // Different sequences of `order` bytes; about 100 bytes of memory each.
  static constexpr std::size_t kMostGrams = std::size_t{1} << 23;

  // The formula above for a user to read.
  static const char* formula();

  // Throws InvalidArgument if order isn't in [1, kMostOrder] or the text has
  // more than kMostGrams different sequences of `order` bytes.
  NgramModel(std::span<const uint8_t> text, int order);

  // P(next | the last order - 1 bytes of context); a shorter context is read at
  // the order that it allows.
  double probability(std::span<const uint8_t> context, uint8_t next) const;

  // Mean of -log2 P over the bytes [first, text.size()), each after all bytes
  // of text before it. Throws InvalidArgument if there is none.
  double bits_per_byte(std::span<const uint8_t> text, std::size_t first) const;

 private:
  // Bytes of a gram, the last one lowest; its length is the level's.
  using Key = uint64_t;
  struct Context {
    uint64_t total = 0;                  // n(c)
    std::array<uint64_t, 3> kinds = {};  // N1, N2, N3
  };
  struct Level {
    std::unordered_map<Key, uint64_t> grams;  // n(cb)
    std::unordered_map<Key, Context> contexts;
    std::array<double, 3> discounts;
  };

  static void summarise(Level& level);

  std::vector<Level> levels_;  // of order 1, 2, ...
};

}  // namespace timepipe
