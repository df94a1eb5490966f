#pragma once

#include <cstdint>
#include <string>

#include "launcher/config/config.h"
#include "parallel/communicator.h"
#include "runtime/memory_pool.h"

namespace timepipe {

// What a rank did in a run.
struct RankShare {
  int64_t sent_bytes;        // to its neighbours in time, training alone
  int64_t activation_bytes;  // held at once, at most
};

// Prints on rank 0, for every rank, the chunks that it has of a sequence, what
// it passed on per step and what stayed with it. Collective.
void report_ranks(Communicator& world, const RunConfig& config, int64_t steps,
                  const RankShare& share);

// What a pool gave out at most, by use, and has now.
std::string taken_text(const MemoryPool& pool);

}  // namespace timepipe
