#include "parallel/schedule_runner.h"

#include <algorithm>
#include <utility>

namespace timepipe {

int64_t complete_shape(ScheduleShape& shape, int time_ranks,
                       int64_t hot_rounds) {
  int64_t most_chunks = 0;  // of a rank, of one sequence
  int64_t most_tokens = 0;
  for (const SequenceShape& sequence : shape.sequences) {
    const auto chunks = static_cast<int64_t>(sequence.size());
    most_chunks = std::max(most_chunks, (chunks + time_ranks - 1) / time_ranks);
    most_tokens = std::max(most_tokens, sequence.front().tokens);
  }
  shape.ranks = time_ranks;
  shape.hot_rounds = std::min(hot_rounds, most_chunks);
  return most_tokens;
}

void ScheduleRunner::prepare(ScheduleShape shape, int64_t hot_rounds) {
  slab_tokens_ = complete_shape(shape, time_.size(), hot_rounds);
  if (shape == last_shape_) return;
  operations_ = make_schedule(shape)[time_.rank()];
  last_shape_ = std::move(shape);
  add_prices();
}

void ScheduleRunner::run(ScheduleShape shape, int64_t hot_rounds,
                         GradientSum& gradients) {
  prepare(std::move(shape), hot_rounds);
  if (!operations_.empty()) {
    program_.reserve_slabs(ctx_, last_shape_.num_slabs(), slab_tokens_);
  }
  Executor::Watch watch;
  if (watch_) watch = [this](std::size_t done) { tell_position(done); };
  executor_.run(last_shape_, operations_, gradients, watch);
}

void ScheduleRunner::add_prices() {
  prices_.clear();
  int64_t sum = 0;
  for (const Operation& op : operations_) {
    if (op.kind == Operation::Kind::kCompute) {
      sum +=
          last_shape_.price(op.phase, op.part, op.layer, op.sequence, op.chunk);
    }
    prices_.push_back(sum);
  }
}

void ScheduleRunner::tell_position(std::size_t done) const {
  const Operation& op = operations_[done - 1];
  watch_({.training = last_shape_.training,
          .phase = op.phase,
          .sequence = op.sequence,
          .sequences = std::ssize(last_shape_.sequences),
          .chunk = op.chunk,
          .chunks = std::ssize(last_shape_.sequences[op.sequence]),
          .share = static_cast<double>(prices_[done - 1]) /
                   static_cast<double>(prices_.back())});
}

}  // namespace timepipe
