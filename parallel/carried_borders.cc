// Keeps the borders that sequences carry, and passes them to the ranks that go
// on from them.

#include "parallel/carried_borders.h"

#include <glog/logging.h>

#include <utility>

namespace timepipe {
namespace {

// Calls f(sequence, border) for what can cross a border; layer 0 has no kHaloX.
template <class F>
void for_each_border(const ScheduleShape& shape, F&& f) {
  const auto sequences = static_cast<int32_t>(shape.sequences.size());
  const auto layers = static_cast<int64_t>(shape.layers.size());
  for (int32_t s = 0; s < sequences; ++s) {
    for (int64_t l = 0; l < layers; ++l) {
      if (l > 0) f(s, LayerBorder{Border::kHaloX, l});
      f(s, LayerBorder{Border::kHaloQk, l});
      f(s, LayerBorder{Border::kState, l});
    }
  }
}

}  // namespace

std::vector<int> CarriedBorders::ranks(int64_t sequences) const {
  std::vector<int> ranks(static_cast<std::size_t>(sequences), 0);
  for (const auto& [_, entry] : taken_) {
    if (entry.sequence < sequences) ranks[entry.sequence] = entry.rank;
  }
  return ranks;
}

const Tensor& CarriedBorders::of(int64_t sequence, LayerBorder border) const {
  const auto entry = taken_.find(key(sequence, border));
  CHECK(entry != taken_.end()) << "no border was kept to go on from";
  return entry->second.value;
}

void CarriedBorders::keep(const ScheduleShape& shape, int rank,
                          const Take& take) {
  kept_.clear();
  for_each_border(shape, [&](int32_t sequence, LayerBorder border) {
    const int64_t last = std::ssize(shape.sequences[sequence]) - 1;
    if (!shape.keeps(sequence, last, border)) return;
    Entry entry{sequence, border, shape.rank_of(sequence, last), {}};
    if (entry.rank == rank) entry.value = take(sequence, border);
    kept_.insert_or_assign(key(sequence, border), std::move(entry));
  });
}

void CarriedBorders::discard() { kept_.clear(); }

void CarriedBorders::advance() { taken_ = std::exchange(kept_, {}); }

std::vector<CarriedBorders::Entry> CarriedBorders::entries() const {
  std::vector<Entry> entries;
  entries.reserve(taken_.size());
  for (const auto& [key, entry] : taken_) entries.push_back(entry);
  return entries;
}

void CarriedBorders::set(std::vector<Entry> entries) {
  taken_.clear();
  for (Entry& entry : entries) {
    taken_.insert_or_assign(key(entry.sequence, entry.border),
                            std::move(entry));
  }
}

}  // namespace timepipe
