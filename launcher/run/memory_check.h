#pragma once

#include <string>
#include <vector>

#include "launcher/trainer/memory_plan.h"
#include "parallel/communicator.h"

namespace timepipe {

// A rank, as far as its host's memory depends on it.
struct RankMemory {
  struct Limit {
    uint64_t group;  // of its host; 0: all of it
    int64_t available;
  };
  uint64_t host;  // the same number on all ranks of a host
  int64_t needed;
  std::vector<Limit> limits;
};

// What is wrong, in one line, if the ranks of a host, or of a control group
// there, need more than the least that one of them sees available to all of
// them; "" if nothing is.
std::string memory_shortage(const std::vector<RankMemory>& ranks);

// Which field to change for less of what the plan has most of.
std::string memory_advice(const MemoryPlan& plan);

// Throws InvalidArgument on all ranks if some host can't hold its ranks' plans.
// Collective.
void require_memory(Communicator& world, const MemoryPlan& mine);

}  // namespace timepipe
