#include "parallel/schedule_crossings.h"

namespace timepipe {

Crossing crossing_of(const Operation& message) {
  return {message.micro_batch,
          message.chunk,
          {message.border, message.layer},
          message.phase == Phase::kBackward};
}

Crossings::Crossings(const ScheduleShape& shape) : shape_(shape) {
  for (const MicroBatchShape& micro_batch : shape.micro_batches) {
    first_chunk_.push_back(first_chunk_.back() + std::ssize(micro_batch));
  }
}

int Crossings::giver(const Crossing& x) const {
  if (!x.carried()) return rank_of(x.micro_batch, x.from());
  return shape_.carried_rank(x.micro_batch);
}

bool Crossings::exists(const Crossing& x) const {
  if (x.carried())
    return !x.gradient && shape_.continues(x.micro_batch, x.border);
  return x.gradient ? shape_.gradient_crosses(x.micro_batch, x.right, x.border)
                    : shape_.crosses(x.micro_batch, x.right, x.border);
}

std::optional<Crossing> Crossings::read_by(const Operation& compute) const {
  if (compute.phase == Phase::kRecompute) return std::nullopt;
  const bool gradient = compute.phase == Phase::kBackward;
  const auto border =
      gradient ? border_out(compute.part, compute.layer, num_layers())
               : border_in(compute.part, compute.layer);
  if (!border) return std::nullopt;
  const Crossing x = {compute.micro_batch,
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
      chunk_id(x.micro_batch, x.right) * num_layers() + x.border.layer;
  return (layer * kBorders + static_cast<int>(x.border.border)) * 2 +
         (x.gradient ? 1 : 0);
}

}  // namespace timepipe
