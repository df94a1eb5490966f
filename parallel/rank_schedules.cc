#include "parallel/rank_schedules.h"

#include <chrono>
#include <utility>

namespace timepipe {
namespace {

std::shared_ptr<const RankSchedule> make(const ScheduleShape& shape, int rank) {
  RankSchedule schedule{.shape = shape,
                        .operations = std::move(make_schedule(shape)[rank]),
                        .prices = {}};
  schedule.prices.reserve(schedule.operations.size());
  int64_t sum = 0;
  for (const Operation& op : schedule.operations) {
    if (op.kind == Operation::Kind::kCompute) {
      sum += shape.price(op.phase, op.part, op.layer, op.sequence, op.chunk);
    }
    schedule.prices.push_back(sum);
  }
  return std::make_shared<const RankSchedule>(std::move(schedule));
}

}  // namespace

void RankSchedules::make_ahead(ScheduleShape shape) {
  const std::lock_guard lock(mutex_);
  const Made& kept = kept_[shape.training ? 1 : 0];
  if (kept && kept->shape == shape) return;
  if (ahead_ && ahead_->shape == shape) return;
  ahead_.reset();
  ahead_ = std::make_unique<Ahead>();
  ahead_->shape = std::move(shape);
  ahead_->made = std::async(
      std::launch::async,
      [rank = rank_, shape = ahead_->shape] { return make(shape, rank); });
}

std::shared_ptr<const RankSchedule> RankSchedules::of(
    const ScheduleShape& shape) {
  using Clock = std::chrono::steady_clock;
  const std::lock_guard lock(mutex_);
  Made& kept = kept_[shape.training ? 1 : 0];
  if (kept && kept->shape == shape) return kept;
  kept.reset();  // before there are two
  const auto start = Clock::now();
  if (ahead_ && ahead_->shape == shape) {
    kept = std::exchange(ahead_, {})->made.get();
  } else {
    kept = make(shape, rank_);
  }
  const std::chrono::duration<double> waited = Clock::now() - start;
  seconds_waited_ += waited.count();
  return kept;
}

}  // namespace timepipe
