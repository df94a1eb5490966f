#pragma once

#include <memory>

#include "launcher/config/config.h"
#include "launcher/data/id_scan.h"
#include "launcher/data/train_data.h"
#include "parallel/communicator.h"

namespace timepipe {

// Looks through files whose ids aren't bounded, 4 GiB at most before the first
// step and the rest besides, on one rank of each host. The first rank keeps
// what was looked through in the run's folder. Collective; null on other ranks.
std::unique_ptr<IdScan> look_through_ids(Communicator& world,
                                         const RunConfig& config,
                                         const TrainData& data);

}  // namespace timepipe
