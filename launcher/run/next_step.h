#pragma once

#include <cstdint>
#include <future>

#include "launcher/data/train_data.h"
#include "launcher/trainer/trainer.h"

namespace timepipe {

// What a step needs of the host, made while the step before it computes: its
// batch is read, and its schedule is made, which with documents is another one
// in every step.
class NextStep {
 public:
  // Both must outlive this.
  NextStep(const TrainData& data, Trainer& trainer)
      : data_(data), trainer_(trainer) {}

  // In a thread of its own.
  void begin(int64_t step);
  // The batch of the step; waits for it, or reads it unless it was begun.
  // Throws as TrainData::batch().
  Batch take(int64_t step);

 private:
  Batch read(int64_t step) const;

  const TrainData& data_;
  Trainer& trainer_;
  int64_t begun_ = -1;
  std::future<Batch> batch_;
};

}  // namespace timepipe
