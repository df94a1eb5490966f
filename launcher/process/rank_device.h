#pragma once

#include <string>

#include "parallel/communicator.h"
#include "runtime/device.h"

namespace timepipe {

// The device of this rank, by its name in a configuration: "cuda" deals the
// devices that a host's ranks see among them, in turn. Collective.
Device device_of_rank(Communicator& world, const std::string& name);

// What is said of the devices of a job.
struct JobDevices {
  std::string line;     // of this rank: "cuda:0 (NVIDIA H100, 79.1 GiB)"
  std::string warning;  // of ranks that share one; empty: none do
};

// After every rank made its Context. Collective.
JobDevices describe_devices(Communicator& world, Device device);

}  // namespace timepipe
