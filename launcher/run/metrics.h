#pragma once

#include <cstdint>
#include <string>

#include "launcher/data/train_data.h"
#include "launcher/run/progress.h"
#include "runtime/files.h"

namespace timepipe {

// RUN_DIR/metrics.jsonl: one JSON object per step and per evaluation, each with
// the tokens seen, the place in the data and the time, whole lines,
// append-only. Lines that can't be written, the disk being full, say, wait in
// memory: the run goes on, and they are written in their order once they can.
class Metrics {
 public:
  // Drops what doesn't belong to the first `steps` steps: lines of steps that
  // are done again, the evaluation of the last of them unless it is
  // `evaluated`, and a torn last line. Throws IoError.
  Metrics(const std::string& run_dir, int64_t steps, bool evaluated,
          const TrainData& data);
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;
  // Writes what waits, or says that it is lost.
  ~Metrics();

  void write(int64_t step, const Trainer::StepResult& result, double lr,
             const StepTime& time);
  // A line {"step", "held_out_loss", ...}, without the key "loss".
  void write_evaluation(int64_t steps_done, double held_out_loss);

 private:
  void write_line(const std::string& line);
  // Returns "" if no line waits any more, else why the first can't be written.
  std::string write_waiting();
  // "metrics.jsonl: N line(s)", those that wait.
  std::string waiting_text() const;

  const TrainData& data_;
  std::string path_;
  FileDescriptor file_;
  int64_t size_bytes_;  // of its whole lines
  std::string waiting_;
};

// "8192 tokens seen, epoch 0.250000"
std::string to_string(const TrainData::Reach& reach);

// The most memory that this process has had, in bytes.
int64_t peak_rss_bytes();

}  // namespace timepipe
