#include "launcher/generate/loss_by_position.h"

#include <algorithm>
#include <bit>

namespace timepipe {

void LossByPosition::add(int64_t tokens_read, double loss) {
  const auto index = static_cast<std::size_t>(
      std::bit_width(static_cast<uint64_t>(tokens_read)) - 1);
  while (buckets_.size() <= index) {
    const int64_t first = int64_t{1} << buckets_.size();
    buckets_.push_back({first, 2 * first - 1});
  }
  ++buckets_[index].tokens;
  buckets_[index].sum += loss;
  ++tokens_;
  sum_ += loss;
}

std::vector<LossByPosition::Bucket> LossByPosition::buckets() const {
  std::vector<Bucket> filled;
  std::ranges::copy_if(buckets_, std::back_inserter(filled),
                       [](const Bucket& b) { return b.tokens > 0; });
  return filled;
}

}  // namespace timepipe
