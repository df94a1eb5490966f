#include "parallel/schedule_crossings.h"

namespace timepipe {

Crossing crossing_of(const Operation& message) {
  return {message.sequence,
          message.chunk,
          {message.border, message.layer},
          message.phase == Phase::kBackward};
}

Crossings::Crossings(const ScheduleShape& shape) : shape_(shape) {
  for (const SequenceShape& sequence : shape.sequences) {
    first_chunk_.push_back(first_chunk_.back() + std::ssize(sequence));
  }
}

int Crossings::giver(const Crossing& x) const {
  if (!x.carried()) return rank_of(x.sequence, x.from());
  return shape_.carried_rank(x.sequence);
}

bool Crossings::exists(const Crossing& x) const {
  if (x.carried()) return !x.gradient && shape_.continues(x.sequence, x.border);
  return x.gradient ? shape_.gradient_crosses(x.sequence, x.right, x.border)
                    : shape_.crosses(x.sequence, x.right, x.border);
}

std::optional<Crossing> Crossings::read_by(const Operation& compute) const {
  if (compute.phase == Phase::kRecompute) return std::nullopt;
  const bool gradient = compute.phase == Phase::kBackward;
  const auto border =
      gradient ? border_out(compute.part, compute.layer, num_layers())
               : border_in(compute.part, compute.layer);
  if (!border) return std::nullopt;
  const Crossing x = {compute.sequence,
                      gradient ? compute.chunk + 1 : compute.chunk, *border,
                      gradient};
  if (!exists(x)) return std::nullopt;
  return x;
}

std::size_t Crossings::size() const {
  return num_chunks() * num_layers() * kBorders * 2;
}

std::size_t Crossings::index(const Crossing& x) const {
  const int64_t layer =
      chunk_id(x.sequence, x.right) * num_layers() + x.border.layer;
  return (layer * kBorders + static_cast<int>(x.border.border)) * 2 +
         (x.gradient ? 1 : 0);
}

}  // namespace timepipe
