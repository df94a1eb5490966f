#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "launcher/config/config.h"
#include "parallel/schedule.h"

namespace timepipe {

// Bytes that a rank takes for a training step at most, by what they are for.
// Not in it: the program and its libraries, pages of files.
struct MemoryPlan {
  int64_t weights = 0;
  int64_t optimizer = 0;  // both moments and the reduced gradient, a shard each
  int64_t gradient_sums = 0;  // and what they come to
  int64_t activations = 0;  // slabs, and what backward passes take beside them
  int64_t borders = 0;      // states and halos that wait at chunk borders
  int64_t scratch = 0;      // of the greediest part, about
  int64_t reduction = 0;    // what it takes to add up the gradients of ranks
  int64_t step = 0;  // ids and targets, the chunk grid, the list of operations
  int64_t snapshot = 0;  // the copy of the shard, and of carried states, that
                         // is being saved
  int64_t staging = 0;   // what ranks on devices send each other, on the host

  bool on_device = false;

  using Part = std::pair<const char*, int64_t>;
  std::array<Part, 10> parts() const;
  int64_t total() const;
  // Of it, in the memory of the host and in that of a device.
  int64_t host_bytes() const;
  int64_t device_bytes() const { return total() - host_bytes(); }
};

// What memory depends on, without any of it being there.
struct MemoryPlanInput {
  const ModelConfig& model;
  const TrainConfig& train;
  const ParallelConfig& parallel;
  int data_rank;
  std::vector<MicroBatchShape> micro_batches;  // of a step, on this data rank
  bool keeps_borders;  // sequences go on in the next step
  bool saves;          // keeps a copy while it is written
  Device device = {};  // any of its kind
};
// That of a configuration whose sequences are one document each; documents that
// start at a chunk's first token take less.
MemoryPlanInput plan_input(const RunConfig& config, int data_rank);

// Of every time rank of a data rank, from shapes alone.
std::vector<MemoryPlan> plan_memory(const MemoryPlanInput& input);

// "1.2 GiB per rank: weights 3.1 MiB, ..."
std::string to_string(const MemoryPlan& plan);

}  // namespace timepipe
