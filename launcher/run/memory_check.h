#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/trainer/memory_plan.h"
#include "parallel/communicator.h"
#include "runtime/device.h"

namespace timepipe {

// A rank, as far as the memory of its host and its device depends on it.
struct RankMemory {
  struct Limit {
    uint64_t group;  // of its host; 0: all of it
    int64_t available;
  };
  uint64_t host;   // the same number on all ranks of a host
  int64_t needed;  // of the host's
  std::vector<Limit> limits;
  struct OnDevice {
    uint64_t id;  // of the device, on its host
    int64_t needed, available;
  };
  std::optional<OnDevice> device = std::nullopt;  // none: the CPU
};

// What is wrong, in one line, if the ranks of a host, of a control group there
// or of a device need more than the least that one of them sees available to
// all of them; "" if nothing is.
std::string memory_shortage(const std::vector<RankMemory>& ranks);

// Which field to change for less of what the plan has most of.
std::string memory_advice(const MemoryPlan& plan);

// Throws InvalidArgument on all ranks if some host or device can't hold its
// ranks' plans. Collective.
void require_memory(Communicator& world, const MemoryPlan& mine,
                    Device device = {});

}  // namespace timepipe
