#pragma once

#include <array>
#include <cstdint>
#include <future>
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
// are kept; one can be made ahead, in a thread of its own, while the rank
// computes.
class RankSchedules {
 public:
  explicit RankSchedules(int rank) : rank_(rank) {}

  // Begins to make what will be asked for next, unless it is there. Takes the
  // place of another that is under way, for which this waits. Any thread.
  void make_ahead(ScheduleShape shape);
  // Waits for the one under way if it is of this shape, makes one if there is
  // none. Throws as make_schedule().
  std::shared_ptr<const RankSchedule> of(const ScheduleShape& shape);

  // What of() has spent waiting and making so far.
  double seconds_waited() const { return seconds_waited_; }

 private:
  using Made = std::shared_ptr<const RankSchedule>;
  struct Ahead {
    ScheduleShape shape;
    std::future<Made> made;
  };
  const int rank_;
  std::mutex mutex_;            // of what follows
  std::array<Made, 2> kept_{};  // of evaluation, of training
  std::unique_ptr<Ahead> ahead_;
  double seconds_waited_ = 0;
};

}  // namespace timepipe
