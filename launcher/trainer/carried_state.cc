#include "launcher/trainer/carried_state.h"

#include <utility>

namespace timepipe {

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

std::vector<CarriedState::Border> CarriedState::borders() const {
  std::vector<Border> borders;
  for (const CarriedBorders::Entry& entry : between_runs_.entries()) {
    const int64_t s = grid_.share().sequence_at(entry.sequence);
    if (entry.value.empty() || s >= std::ssize(left_after_)) continue;
    if (left_after_[s] < 0) continue;
    borders.push_back({s, left_after_[s], entry.border, entry.value});
  }
  return borders;
}

bool CarriedState::takes(int64_t sequence) const {
  const DataShare share = grid_.share();
  return share.takes(sequence) &&
         share.place_of(sequence) % grid_.time_ranks == grid_.time_rank;
}

void CarriedState::restore(const std::vector<Border>& borders) {
  std::vector<CarriedBorders::Entry> mine;
  left_after_.clear();
  for (const Border& border : borders) {
    const int64_t s = border.sequence;
    if (s >= std::ssize(left_after_)) left_after_.resize(s + 1, -1);
    left_after_[s] = border.steps;
    if (!grid_.share().takes(s)) continue;
    const int64_t local = grid_.share().place_of(s);
    mine.push_back({local, border.border,
                    static_cast<int>(local % grid_.time_ranks), border.value});
  }
  between_runs_.set(std::move(mine));
}

}  // namespace timepipe
