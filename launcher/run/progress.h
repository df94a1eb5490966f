#pragma once

#include <chrono>
#include <string>

#include "launcher/config/config.h"
#include "launcher/process/set_threads.h"
#include "launcher/trainer/trainer.h"
#include "models/model_size.h"

namespace timepipe {

// FLOP/s of the largest matrix product of numbers of train.dtype that this
// rank's threads or its device do in a short measurement: what the machine can
// give a model of that type, here and now. `size`: of the square matrices. On
// the CPU 1024 of f32 take about a tenth of a second and 12 MiB (bf16: 18), 512
// an eighth and a quarter of that. For a faster device they are doubled until a
// product takes so long that its launch is nothing beside it, up to 8192: 768
// MiB of f32.
double measure_peak_flops(Device device, DType dtype, int64_t size = 1024);

// What a step took.
struct StepTime {
  double seconds;
  double tokens_per_second;  // those with a label: padding doesn't count
  double peak_share;  // of the ranks' peak, for the model's own operations on
                      // these tokens
  double peak_flops;  // that peak
};

// What a person sees of a training run after its banner: a line for every step;
// on the terminal of a lone process one line that is written over, with the
// time that is left. Only one rank should have one that speaks.
class Progress {
 public:
  // peak_flops: of all ranks together. first_step: steps done before.
  Progress(const RunConfig& config, double peak_flops, int64_t first_step,
           bool speaks);

  // The speed that the steps' shares refer to.
  void begin() const;
  // The time since the last call, or since this was made, of a step with so
  // many labels; what was saved after a step counts for the next. A speed above
  // the peak raises that.
  StepTime step_time(int64_t labels);
  // The peak measured again: the largest counts.
  void raise_peak(double peak_flops);
  // Doesn't count the time since then.
  void leave_out();
  void step(int64_t step, const Trainer::StepResult& result,
            const StepTime& time);
  // Within a step (0-based) or an evaluation: a line at times, so that long
  // ones are seen to go on. Every 30 s, on a terminal every second.
  void within(int64_t step, const StepPosition& position);
  // A line of its own, on a terminal above the one that is written over.
  void say(const std::string& line);
  // Leaves the last line standing.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  RunConfig config_;
  double peak_flops_;
  int64_t first_step_;
  bool speaks_, terminal_;
  bool line_open_ = false;
  Clock::time_point start_, last_, last_line_;
};

}  // namespace timepipe
