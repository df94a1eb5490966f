#include "parallel/rank_schedules.h"

#include <algorithm>
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
      sum += shape.price(op.phase, op.part, op.layer, op.micro_batch, op.chunk);
    }
    schedule.prices.push_back(sum);
  }
  return std::make_shared<const RankSchedule>(std::move(schedule));
}

}  // namespace

void RankSchedules::make_ahead(ScheduleShape shape) {
  constexpr std::size_t kMost = 2;
  const std::lock_guard lock(mutex_);
  const Made& kept = kept_[shape.training ? 1 : 0];
  if (kept && kept->shape == shape) return;
  if (std::ranges::count(ahead_, shape, &Ahead::shape) > 0) return;
  if (ahead_.size() == kMost) ahead_.pop_front();
  Ahead& ahead = ahead_.emplace_back();
  ahead.shape = std::move(shape);
  ahead.made = std::async(
      std::launch::async,
      [rank = rank_, shape = ahead.shape] { return make(shape, rank); });
}

std::shared_ptr<const RankSchedule> RankSchedules::of(
    const ScheduleShape& shape) {
  using Clock = std::chrono::steady_clock;
  const std::lock_guard lock(mutex_);
  Made& kept = kept_[shape.training ? 1 : 0];
  if (kept && kept->shape == shape) return kept;
  kept.reset();  // before there are two
  const auto start = Clock::now();
  kept = take(shape);
  const std::chrono::duration<double> waited = Clock::now() - start;
  seconds_waited_ += waited.count();
  return kept;
}

// That which is ahead, or a new one.
RankSchedules::Made RankSchedules::take(const ScheduleShape& shape) {
  const auto ahead = std::ranges::find(ahead_, shape, &Ahead::shape);
  if (ahead == ahead_.end()) {
    ++num_late_;
    return make(shape, rank_);
  }
  std::future<Made> made = std::move(ahead->made);
  ahead_.erase(ahead);
  return made.get();
}

}  // namespace timepipe
