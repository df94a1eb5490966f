// When visits open, and what they need to.

#include "parallel/schedule_simulation.h"

namespace timepipe {

ScheduleSimulation::ScheduleSimulation(const ScheduleShape& shape)
    : shape_(shape),
      cold_forward_(cold_forward_visit(num_layers())),
      hot_forward_(hot_forward_visit(num_layers())),
      recompute_(recompute_visit(num_layers())),
      backward_(backward_visit(num_layers())),
      inference_(inference_visit(num_layers())),
      ranks_(shape.ranks) {
  for (const MicroBatchShape& micro_batch : shape.micro_batches)
    deal(micro_batch);
  arrived_.resize(num_chunks() * num_layers() * kBorders * 2);
}

void ScheduleSimulation::deal(const MicroBatchShape& micro_batch) {
  const int64_t first = num_chunks();
  const int64_t end = first + static_cast<int64_t>(micro_batch.size());
  const int32_t s = first == 0 ? 0 : chunks_.back().micro_batch + 1;
  for (int64_t c = first; c < end; ++c) {
    const int64_t after_it = (end - 1 - c) / shape_.ranks;  // on its rank
    const bool hot = shape_.training && after_it < shape_.hot_rounds;
    chunks_.push_back({s, static_cast<int32_t>(c - first), hot});
    if (hot) rank_of(c).slab_order.push_back(c);
  }
  if (!shape_.training) return;
  for (int64_t c = end - 1; c >= first; --c) {
    if (!chunks_[c].hot) rank_of(c).slab_order.push_back(c);
  }
}

// Forward visits open in the order of the deal, one at a time.
void ScheduleSimulation::open_forward(Rank& rank) {
  const int64_t c = rank.forward;
  if (rank.forward_open || c >= num_chunks()) return;
  if (chunks_[c].hot && !take_slab(rank, c)) return;
  rank.forward_open = true;
  open(c, Phase::kForward);
}

// Recomputations open one at a time, and those of a micro-batch when the rank
// is through with all its forward visits: by then all borders are here.
void ScheduleSimulation::open_recompute(Rank& rank) {
  if (rank.recompute_open || rank.slabs_taken == rank.slab_order.size()) return;
  const int64_t c = rank.slab_order[rank.slabs_taken];
  if (chunks_[c].hot) return;
  if (rank.forward < num_chunks() &&
      chunks_[rank.forward].micro_batch <= chunks_[c].micro_batch) {
    return;
  }
  if (!take_slab(rank, c)) return;
  rank.recompute_open = true;
  open(c, Phase::kRecompute);
}

// A backward visit opens when the activations are there and the one of the
// rank's next chunk of the micro-batch is over.
void ScheduleSimulation::open_backward(int64_t c) {
  const int64_t next = c + shape_.ranks;
  if (!chunks_[c].has_activations) return;
  if (same_micro_batch(c, next) && !chunks_[next].done) return;
  open(c, Phase::kBackward);
}

// Slabs are taken in one order, micro-batch after micro-batch; in each by the
// hot chunks on their way forward, then by the cold ones on the way back. Were
// a later micro-batch let in earlier, it could hold the slab without which a
// chunk that it waits for, on another rank, never gets done.
bool ScheduleSimulation::take_slab(Rank& rank, int64_t c) {
  if (rank.slab_order[rank.slabs_taken] != c) return false;
  int32_t& slab = chunks_[c].slab;
  if (!rank.returned_slabs.empty()) {
    slab = rank.returned_slabs.back();
    rank.returned_slabs.pop_back();
  } else if (rank.unused_slab < shape_.num_slabs()) {
    slab = rank.unused_slab++;
  } else {
    return false;
  }
  ++rank.slabs_taken;
  return true;
}

const Visit& ScheduleSimulation::visit_of(const Chunk& chunk,
                                          Phase phase) const {
  switch (phase) {
    case Phase::kForward:
      if (!shape_.training) return inference_;
      return chunk.hot ? hot_forward_ : cold_forward_;
    case Phase::kRecompute:
      return recompute_;
    case Phase::kBackward:
      break;
  }
  return backward_;
}

void ScheduleSimulation::open(int64_t c, Phase phase) {
  Chunk& chunk = chunks_[c];
  chunk.phase = phase;
  chunk.visit = &visit_of(chunk, phase);
  chunk.position = 0;
  await_input(c);
}

// The end of a visit is when others may open.
void ScheduleSimulation::close(int64_t c) {
  Rank& rank = rank_of(c);
  Chunk& chunk = chunks_[c];
  switch (chunk.phase) {
    case Phase::kForward:
      rank.forward += shape_.ranks;
      rank.forward_open = false;
      chunk.has_activations = chunk.hot;
      chunk.done = !shape_.training;
      open_backward(c);
      break;
    case Phase::kRecompute:
      rank.recompute_open = false;
      chunk.has_activations = true;
      open_backward(c);
      break;
    case Phase::kBackward:
      rank.returned_slabs.push_back(chunk.slab);
      chunk.done = true;
      if (same_micro_batch(c - shape_.ranks, c))
        open_backward(c - shape_.ranks);
  }
  open_forward(rank);
  open_recompute(rank);
}

}  // namespace timepipe
