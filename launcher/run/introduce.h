#pragma once

#include "launcher/config/config.h"
#include "launcher/data/train_data.h"
#include "launcher/process/set_threads.h"
#include "parallel/communicator.h"

namespace timepipe {

// Opens this rank's log in the run's folder, with what the rank is at its head.
void open_log(const RunConfig& config, const Communicator& world);

// Says what is trained, on what data, with what memory, threads and device,
// before any of the memory is taken. Throws on all ranks if a host or a device
// can't hold what its ranks need. Every rank has made its Context. Collective.
void introduce(Communicator& world, const RunConfig& config,
               const TrainData& data, const JobThreads& threads, Device device);

}  // namespace timepipe
