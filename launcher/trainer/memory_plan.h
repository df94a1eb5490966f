#pragma once

#include <cstdint>
#include <string>

#include "models/language_model.h"
#include "parallel/list_memory.h"

namespace timepipe {

// Bytes that a rank takes for a training step at most, from shapes alone. Not
// in it: the program and its libraries, token files and ids.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t optimizer = 0;  // both moments and the reduced gradient, a shard each
  int64_t gradient_sums = 0;
  int64_t activations = 0;  // lanes, and what backward passes take beside them
  int64_t borders = 0;
  int64_t scratch = 0;   // of the greediest part, about
  int64_t snapshot = 0;  // the copy of the shard that is being saved

  int64_t total() const {
    return weights + optimizer + gradient_sums + activations + borders +
           scratch + snapshot;
  }
};

struct MemoryPlanInput {
  const LanguageModel& model;
  const ScheduleShape& shape;  // of the step
  const OperationList& operations;
  int time_rank;
  int64_t shard_elements;  // of weights and moments on this rank
  bool saves;              // keeps a copy while it is written
};

MemoryPlan plan_memory(const MemoryPlanInput& input);

// "1.2 GiB per rank: weights 3.1 MiB, ..."
std::string to_string(const MemoryPlan& plan);

}  // namespace timepipe
