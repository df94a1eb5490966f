#include "parallel/schedule_runner.h"

#include <algorithm>
#include <utility>

namespace timepipe {

SlabSize complete_shape(ScheduleShape& shape, int time_ranks,
                        int64_t hot_rounds) {
  int64_t most_chunks = 0;  // of a rank, of one micro-batch
  SlabSize slab;
  for (const MicroBatchShape& micro_batch : shape.micro_batches) {
    const auto chunks = static_cast<int64_t>(micro_batch.size());
    most_chunks = std::max(most_chunks, (chunks + time_ranks - 1) / time_ranks);
    slab.members = std::max(slab.members, micro_batch.front().members);
    slab.tokens = std::max(slab.tokens, micro_batch.front().tokens);
  }
  shape.ranks = time_ranks;
  shape.hot_rounds = std::min(hot_rounds, most_chunks);
  return slab;
}

void ScheduleRunner::make_ahead(ScheduleShape shape, int64_t hot_rounds) {
  complete_shape(shape, time_.size(), hot_rounds);
  schedules_.make_ahead(std::move(shape));
}

void ScheduleRunner::run(ScheduleShape shape, int64_t hot_rounds,
                         GradientSum& gradients) {
  const SlabSize slab = complete_shape(shape, time_.size(), hot_rounds);
  const auto schedule = schedules_.of(shape);
  if (!schedule->operations.empty()) {
    program_.reserve_slabs(ctx_, shape.num_slabs(), slab.members, slab.tokens);
  }
  Executor::Watch watch;
  if (watch_) {
    watch = [&](std::size_t done) { tell_position(*schedule, done); };
  }
  executor_.run(schedule->shape, schedule->operations, gradients, watch);
}

void ScheduleRunner::tell_position(const RankSchedule& schedule,
                                   std::size_t done) const {
  const ScheduleShape& shape = schedule.shape;
  const Operation& op = schedule.operations[done - 1];
  watch_({.training = shape.training,
          .phase = op.phase,
          .micro_batch = op.micro_batch,
          .micro_batches = std::ssize(shape.micro_batches),
          .chunk = op.chunk,
          .chunks = std::ssize(shape.micro_batches[op.micro_batch]),
          .share = static_cast<double>(schedule.prices[done - 1]) /
                   static_cast<double>(schedule.prices.back())});
}

}  // namespace timepipe
