// Counts the n-grams of every order and makes probabilities of the counts.

#include "launcher/data/ngram_model.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace timepipe {
namespace {

uint64_t key_of(std::span<const uint8_t> bytes) {
  uint64_t key = 0;
  for (const uint8_t byte : bytes) key = key << 8 | byte;
  return key;
}

uint64_t last_bytes(uint64_t key, std::size_t count) {
  return count >= sizeof key ? key : key & ((uint64_t{1} << 8 * count) - 1);
}

// of[j - 1]: the number of grams with count j.
std::array<double, 3> discounts_of(const std::array<double, 4>& of) {
  const double y = of[0] + of[1] > 0 ? of[0] / (of[0] + 2 * of[1]) : 0.5;
  std::array<double, 3> discounts;
  for (int j = 1; j <= 3; ++j) {
    const double d = j - (j + 1) * y * of[j] / of[j - 1];
    if (!(0 < d && d <= j)) {  // also 0 / 0
      discounts.fill(0 < y && y < 1 ? y : 0.5);
      break;
    }
    discounts[j - 1] = d;
  }
  return discounts;
}

}  // namespace

const char* NgramModel::formula() {
  return "P_k(b|c) = (n(cb) - D(n(cb)) + (D1 N1(c) + D2 N2(c) + D3 N3(c)) "
         "P_k-1(b|c')) / n(c)\n"
         "  b: a byte; c: the k-1 bytes before it; c': c without its first "
         "byte; P_0 = 1/256\n"
         "  n(cb): at the highest order how often cb occurs in the trained "
         "part,\n"
         "    below it the number of different bytes before cb; n(c): its sum "
         "over b\n"
         "  Nj(c): bytes b with n(cb) = j (N3: 3 or more)\n"
         "  D(0) = 0, Dj = j - (j+1) Y n_(j+1) / n_j (D3: 3 or more), "
         "Y = n_1 / (n_1 + 2 n_2),\n"
         "    n_j: number of different cb with n(cb) = j\n";
}

NgramModel::NgramModel(std::span<const uint8_t> text, int order)
    : levels_(order > 0 ? order : 0) {
  require(1 <= order && order <= kMostOrder,
          "order of an n-gram model: ", order, ", expected 1 to ", kMostOrder);
  auto& highest = levels_.back().grams;
  uint64_t key = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    key = last_bytes(key << 8 | text[i], order);
    if (i + 1 < static_cast<std::size_t>(order)) continue;
    ++highest[key];
    if (highest.size() <= kMostGrams) continue;
    throw InvalidArgument(
        "n-gram model: more than " + std::to_string(kMostGrams) +
        " different sequences of " + std::to_string(order) +
        " bytes, expected a lower order or a text with fewer");
  }
  for (int k = order - 1; k >= 1; --k) {
    for (const auto& [gram, count] : levels_[k].grams) {
      ++levels_[k - 1].grams[last_bytes(gram, k)];
    }
  }
  for (Level& level : levels_) summarise(level);
}

void NgramModel::summarise(Level& level) {
  std::array<double, 4> of = {};
  for (const auto& [gram, count] : level.grams) {
    if (count <= of.size()) ++of[count - 1];
    Context& context = level.contexts[gram >> 8];
    context.total += count;
    ++context.kinds[std::min<uint64_t>(count, 3) - 1];
  }
  level.discounts = discounts_of(of);
}

double NgramModel::probability(std::span<const uint8_t> context,
                               uint8_t next) const {
  double p = 1.0 / 256;
  const std::size_t longest = std::min(context.size(), levels_.size() - 1);
  for (std::size_t k = 0; k <= longest; ++k) {
    const Level& level = levels_[k];
    const Key before = key_of(context.last(k));
    const auto found = level.contexts.find(before);
    if (found == level.contexts.end()) break;
    const auto& [total, kinds] = found->second;
    double spread = 0;
    for (int j = 0; j < 3; ++j) {
      spread += level.discounts[j] * static_cast<double>(kinds[j]);
    }
    const auto gram = level.grams.find(before << 8 | next);
    double own = 0;
    if (gram != level.grams.end()) {
      const uint64_t count = gram->second;
      own = static_cast<double>(count) -
            level.discounts[std::min<uint64_t>(count, 3) - 1];
    }
    p = (own + spread * p) / static_cast<double>(total);
  }
  return p;
}

double NgramModel::bits_per_byte(std::span<const uint8_t> text,
                                 std::size_t first) const {
  require(first < text.size(), "n-gram model: no byte to score");
  double bits = 0;
  for (std::size_t i = first; i < text.size(); ++i) {
    bits -= std::log2(probability(text.first(i), text[i]));
  }
  return bits / static_cast<double>(text.size() - first);
}

}  // namespace timepipe
