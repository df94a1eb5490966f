#pragma once

#include <array>
#include <cstdint>
#include <future>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "parallel/schedule.h"

namespace timepipe {

// A rank's part of a schedule.
struct RankSchedule {
  ScheduleShape shape;
  OperationList operations;
  std::vector<int64_t> prices;  // of the operations up to each, this included
};

// The schedules that a rank runs. The last ones of training and of evaluation
// are kept; others can be made ahead, each in a thread of its own, while the
// rank computes.
class RankSchedules {
 public:
  explicit RankSchedules(int rank) : rank_(rank) {}

  // Begins to make what will be asked for, unless it is there. Two may be ahead
  // of what was asked for last, that of the step which begins now and that of
  // the next: a third takes the place of the oldest. Any thread.
  void make_ahead(ScheduleShape shape);
  // Waits for one that is being made, makes one if there is none. Throws as
  // make_schedule().
  std::shared_ptr<const RankSchedule> of(const ScheduleShape& shape);

  // How many of() had to make itself, and how long it took with those that it
  // waited for.
  int64_t num_late() const { return num_late_; }
  double seconds_waited() const { return seconds_waited_; }

 private:
  using Made = std::shared_ptr<const RankSchedule>;
  struct Ahead {
    ScheduleShape shape;
    std::future<Made> made;
  };
  Made take(const ScheduleShape& shape);

  const int rank_;
  std::mutex mutex_;            // of what follows
  std::array<Made, 2> kept_{};  // of evaluation, of training
  std::list<Ahead> ahead_;      // oldest first
  int64_t num_late_ = 0;
  double seconds_waited_ = 0;
};

}  // namespace timepipe
