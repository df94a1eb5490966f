#include "launcher/trainer/carried_state.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "runtime/transfer.h"

namespace timepipe {
namespace {

// Of a border of all sequences of a micro-batch, that of one.
Tensor piece_of(const Tensor& border, int64_t member, int64_t members) {
  const int64_t n = border.dim(0) / members;
  return border.slice(member * n, (member + 1) * n);
}

}  // namespace

void CarriedState::begin_step(Batch& batch, int64_t step) const {
  for (std::size_t s = 0; s < batch.size(); ++s) {
    Sequence& sequence = batch[s];
    const int64_t left_after = s < left_after_.size() ? left_after_[s] : -1;
    if (!sequence.continues || left_after == step) continue;
    sequence.ids_before.clear();
    if (left_after >= 0) continue;
    sequence.continues = false;
    if (!sequence.documents.empty()) sequence.documents.front().resets = true;
  }
}

void CarriedState::end_step(const Batch& batch, int64_t step, bool finite) {
  if (finite) {
    between_runs_.advance();
  } else {
    between_runs_.discard();
  }
  left_after_.resize(batch.size(), -1);
  for (std::size_t s = 0; s < batch.size(); ++s) {
    if (finite) {
      left_after_[s] = batch[s].hands_on ? step + 1 : -1;
    } else if (!batch[s].continues) {
      left_after_[s] = -1;  // what is there is of another text
    }
  }
}

int64_t CarriedState::members(int64_t micro_batch) const {
  const int64_t first = grid_.share().first_sequence(micro_batch);
  return std::min(grid_.micro_batch_size, std::ssize(left_after_) - first);
}

std::vector<CarriedState::Border> CarriedState::borders() const {
  std::vector<Border> borders;
  for (const CarriedBorders::Entry& entry : between_runs_.entries()) {
    if (entry.value.empty()) continue;
    const int64_t first = grid_.share().first_sequence(entry.micro_batch);
    for (int64_t m = 0; m < members(entry.micro_batch); ++m) {
      const int64_t steps = left_after_[first + m];
      if (steps < 0) continue;
      borders.push_back({first + m, steps, entry.border,
                         piece_of(entry.value, m, members(entry.micro_batch))});
    }
  }
  return borders;
}

bool CarriedState::takes(int64_t sequence) const {
  const DataShare share = grid_.share();
  return share.takes(sequence) &&
         share.micro_batch_of(sequence) % grid_.time_ranks == grid_.time_rank;
}

void CarriedState::restore(const std::vector<Border>& borders,
                           int64_t sequences) {
  const DataShare share = grid_.share();
  left_after_.assign(sequences, -1);
  std::map<std::tuple<int64_t, int64_t, timepipe::Border>,
           CarriedBorders::Entry>
      mine;
  for (const Border& border : borders) {
    const int64_t s = border.sequence;
    left_after_.at(s) = border.steps;
    if (!share.takes(s)) continue;
    const int64_t micro_batch = share.micro_batch_of(s);
    auto& entry =
        mine[{micro_batch, border.border.layer, border.border.border}];
    entry.micro_batch = micro_batch;
    entry.border = border.border;
    entry.rank = static_cast<int>(micro_batch % grid_.time_ranks);
    if (border.value.empty()) continue;
    if (entry.value.empty()) {
      Shape shape = border.value.shape();
      shape[0] *= members(micro_batch);
      entry.value =
          ctx_.zeros(shape, border.value.dtype(), MemoryUse::kBorders);
    }
    copy(ctx_, border.value,
         piece_of(entry.value, s - share.first_sequence(micro_batch),
                  members(micro_batch)));
  }
  std::vector<CarriedBorders::Entry> entries;
  entries.reserve(mine.size());
  for (auto& [_, entry] : mine) entries.push_back(std::move(entry));
  between_runs_.set(std::move(entries));
}

}  // namespace timepipe
