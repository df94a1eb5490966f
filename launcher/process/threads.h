#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launcher/process/cores.h"

namespace timepipe {

struct RankCores {
  Cores cores;
  int64_t asked = 0;  // OMP_NUM_THREADS; 0: not set
};

struct ThreadChoice {
  int64_t threads = 1;
  std::string reason;   // "2 cores shared by 4 ranks"
  std::string warning;  // of cores that stay idle or are shared; empty: none
};

// How many threads a rank computes with. OMP_NUM_THREADS if it is set; else its
// cores divided by the ranks of its host that have one of them too, or its part
// of what a control group may take, whichever is less; at least one.
ThreadChoice choose_threads(std::span<const RankCores> ranks, int rank);

// Whether the threads of a host's ranks must take turns, by what a process
// knows of itself: launchers give ranks the same cores or disjoint ones.
bool threads_outnumber_cores(int64_t threads, int64_t ranks_of_host,
                             const Cores& cores);

}  // namespace timepipe
