// Keeps the borders that micro-batches carry, and passes them to the ranks that
// go on from them.

#include "parallel/carried_borders.h"

#include <glog/logging.h>

#include <utility>

namespace timepipe {
namespace {

// Calls f(micro-batch, border) for what can cross a border; layer 0 has no
// kHaloX.
template <class F>
void for_each_border(const ScheduleShape& shape, F&& f) {
  const auto micro_batches = static_cast<int32_t>(shape.micro_batches.size());
  const auto layers = static_cast<int64_t>(shape.layers.size());
  for (int32_t s = 0; s < micro_batches; ++s) {
    for (int64_t l = 0; l < layers; ++l) {
      if (l > 0) f(s, LayerBorder{Border::kHaloX, l});
      f(s, LayerBorder{Border::kHaloQk, l});
      f(s, LayerBorder{Border::kState, l});
    }
  }
}

}  // namespace

std::vector<int> CarriedBorders::ranks(int64_t micro_batches) const {
  std::vector<int> ranks(static_cast<std::size_t>(micro_batches), 0);
  for (const auto& [_, entry] : taken_) {
    if (entry.micro_batch < micro_batches)
      ranks[entry.micro_batch] = entry.rank;
  }
  return ranks;
}

const Tensor& CarriedBorders::of(int64_t micro_batch,
                                 LayerBorder border) const {
  const auto entry = taken_.find(key(micro_batch, border));
  CHECK(entry != taken_.end()) << "no border was kept to go on from";
  return entry->second.value;
}

void CarriedBorders::keep(const ScheduleShape& shape, int rank,
                          const Take& take) {
  kept_.clear();
  for_each_border(shape, [&](int32_t micro_batch, LayerBorder border) {
    const int64_t last = std::ssize(shape.micro_batches[micro_batch]) - 1;
    if (!shape.keeps(micro_batch, last, border)) return;
    Entry entry{micro_batch, border, shape.rank_of(micro_batch, last), {}};
    if (entry.rank == rank) entry.value = take(micro_batch, border);
    kept_.insert_or_assign(key(micro_batch, border), std::move(entry));
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
    taken_.insert_or_assign(key(entry.micro_batch, entry.border),
                            std::move(entry));
  }
}

}  // namespace timepipe
