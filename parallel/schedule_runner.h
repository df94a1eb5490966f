#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "parallel/executor.h"
#include "parallel/rank_schedules.h"

namespace timepipe {

// Where a rank is in the list of operations of a step, or of an evaluation.
struct StepPosition {
  bool training;
  Phase phase;
  int64_t micro_batch, micro_batches;  // of this data rank
  int64_t chunk, chunks;               // of that micro-batch
  double share;  // of the rank's own work that is done, by its prices
};
using Watch = std::function<void(const StepPosition&)>;

// Sets the time ranks of a shape and its hot rounds: those beyond the chunks of
// a rank mean all of them. Returns the sizes of slabs that hold any chunk.
struct SlabSize {
  int64_t members = 0, tokens = 0;  // sequences, tokens of each
};
SlabSize complete_shape(ScheduleShape& shape, int time_ranks,
                        int64_t hot_rounds);

// Runs program parts of a step in the order of its schedule, on the slab memory
// that the schedule needs.
class ScheduleRunner {
 public:
  // See Executor.
  ScheduleRunner(Context& ctx, Exchange& time, ChunkProgram& program,
                 CarriedBorders* carried = nullptr)
      : ctx_(ctx),
        time_(time),
        program_(program),
        schedules_(time.rank()),
        executor_(ctx, time, program, carried) {}

  // Begins to make the schedule of a shape that will be run, while the rank
  // computes. Any thread.
  void make_ahead(ScheduleShape shape, int64_t hot_rounds);
  // Runs this rank's list of a shape, which is completed here.
  void run(ScheduleShape shape, int64_t hot_rounds, GradientSum& gradients);
  // Of all runs so far: how long they waited for their schedules.
  double seconds_waited() const { return schedules_.seconds_waited(); }

  // Told where this rank is after every compute operation; changes no result.
  void set_watch(Watch watch) { watch_ = std::move(watch); }

 private:
  void tell_position(const RankSchedule& schedule, std::size_t done) const;

  Context& ctx_;
  Exchange& time_;
  ChunkProgram& program_;
  RankSchedules schedules_;
  Executor executor_;
  Watch watch_;
};

}  // namespace timepipe
