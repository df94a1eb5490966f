#pragma once

#include <fstream>
#include <string>

#include "launcher/data/train_data.h"
#include "launcher/run/progress.h"

namespace timepipe {

// RUN_DIR/metrics.jsonl: one JSON object per step and per evaluation, each with
// the tokens seen, the place in the data and the time, whole lines,
// append-only.
class Metrics {
 public:
  // Drops what doesn't belong to the first `steps` steps: lines of steps that
  // are done again, the evaluation of the last of them unless it is
  // `evaluated`, and a torn last line. Throws IoError.
  Metrics(const std::string& run_dir, int64_t steps, bool evaluated,
          const TrainData& data);

  // Throws IoError.
  void write(int64_t step, const Trainer::StepResult& result, double lr,
             const StepTime& time);
  // A line {"step", "held_out_loss", ...}, without the key "loss".
  void write_evaluation(int64_t steps_done, double held_out_loss);

 private:
  void write_line(const std::string& line);

  const TrainData& data_;
  std::string path_;
  std::ofstream file_;
};

// "8192 tokens seen, epoch 0.250000"
std::string to_string(const TrainData::Reach& reach);

// The most memory that this process has had, in bytes.
int64_t peak_rss_bytes();

}  // namespace timepipe
