#pragma once

#include <cstdint>
#include <vector>

#include "models/batch.h"
#include "parallel/carried_borders.h"
#include "parallel/process_grid.h"

namespace timepipe {

// What the sequences of a batch carry from step to step (data.carry_state): for
// each layer the hidden state and the rows that convolutions look back to.
//
// When a sequence continues: if the data say so (Sequence::continues) and the
// same sequence of an earlier step left something. If that was the step before,
// it goes on from all of it. If steps in between were not finite, it goes on
// from the states alone and convolutions start afresh; a step that isn't finite
// leaves nothing, one without a label leaves what it read. Where nothing was
// left, the sequence starts afresh.
//
// Where the state lies: on the data rank that takes the sequence, there on the
// time rank of its last chunk; the next step brings it to that of the first
// (parallel/carried_borders.h).
//
// How it is saved and restored: every rank saves what it has, borders(). To
// restore, every rank reads what it takes() and gives restore() the list of
// all, so that any layout goes on from any other's.
class CarriedState {
 public:
  CarriedState(Context& ctx, const ProcessGrid& grid)
      : ctx_(ctx), grid_(grid) {}

  // Before step `step` (0-based): sequences for which nothing was left start
  // afresh.
  void begin_step(Batch& batch, int64_t step) const;
  // After it: what its sequences left is what the next step goes on from.
  void end_step(const Batch& batch, int64_t step, bool finite);

  struct Border {
    int64_t sequence;  // in the batch
    int64_t steps;     // that were done when it was left
    LayerBorder border;
    Tensor value;
  };
  // Those that this rank has.
  std::vector<Border> borders() const;
  // Whether this rank takes those of a sequence.
  bool takes(int64_t sequence) const;
  // Replaces everything, on all ranks; `value` where the sequence is taken, one
  // of so many of the batch.
  void restore(const std::vector<Border>& borders, int64_t sequences);

  // For the schedule that runs a step.
  CarriedBorders& between_runs() { return between_runs_; }

 private:
  // Sequences of a micro-batch of this data rank, and of all.
  int64_t members(int64_t micro_batch) const;

  Context& ctx_;
  const ProcessGrid& grid_;
  CarriedBorders between_runs_;  // of this data rank's micro-batches
  // Of each sequence of the batch: the steps that were done when it left
  // something; -1: it left nothing.
  std::vector<int64_t> left_after_;
};

}  // namespace timepipe
