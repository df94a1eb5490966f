#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "parallel/executor.h"

namespace timepipe {

// Where a rank is in the list of operations of a step, or of an evaluation.
struct StepPosition {
  bool training;
  Phase phase;
  int64_t sequence, sequences;  // of this data rank
  int64_t chunk, chunks;        // of that sequence
  double share;  // of the rank's own work that is done, by its prices
};
using Watch = std::function<void(const StepPosition&)>;

// Sets the time ranks of a shape and its hot rounds: those beyond the chunks of
// a rank mean all of them. Returns the tokens of the longest chunk.
int64_t complete_shape(ScheduleShape& shape, int time_ranks,
                       int64_t hot_rounds);

// Runs program parts of a step in the order of its schedule, on the slab memory
// that the schedule needs. Keeps the lists of the last shape.
class ScheduleRunner {
 public:
  // See Executor.
  ScheduleRunner(Context& ctx, Communicator& time, ChunkProgram& program,
                 CarriedBorders* carried = nullptr)
      : ctx_(ctx),
        time_(time),
        program_(program),
        executor_(ctx, time, program, carried) {}

  // Makes the lists of a shape, which is completed here.
  void prepare(ScheduleShape shape, int64_t hot_rounds);
  // Also runs this rank's.
  void run(ScheduleShape shape, int64_t hot_rounds, GradientSum& gradients);

  // Told where this rank is after every compute operation; changes no result.
  void set_watch(Watch watch) { watch_ = std::move(watch); }

 private:
  void add_prices();
  void tell_position(std::size_t done) const;

  Context& ctx_;
  Communicator& time_;
  ChunkProgram& program_;
  Executor executor_;
  ScheduleShape last_shape_;
  OperationList operations_;
  int64_t slab_tokens_ = 0;
  std::vector<int64_t> prices_;  // of the operations up to each, this included
  Watch watch_;
};

}  // namespace timepipe
