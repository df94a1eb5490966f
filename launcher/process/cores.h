#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace timepipe {

// What a process may compute on.
struct Cores {
  // Time on processors that the processes of a control group may take together.
  struct Limit {
    uint64_t group;
    int64_t thousandths;  // of a core
  };

  uint64_t host = 0;  // of the machine, whatever container the process is in
  // Physical cores, ascending; a core is named by its lowest CPU, so that the
  // CPUs that share one (SMT) count once.
  std::vector<int64_t> cores;
  int64_t of_host = 1;        // cores that a launcher could have given it
  std::vector<Limit> limits;  // of its own control group and those above
};

// Numbers of the CPUs that this process may run on: its affinity mask, or where
// the OpenMP library has bound the threads, all of its places.
std::vector<int64_t> cpus_of_this_process();

// Lets the calling thread, and what it starts, run on these CPUs.
void set_affinity_mask(const std::vector<int64_t>& cpus);

// What these CPUs are, by /proc and /sys in the folder `root`. What isn't told
// there is no limit, and each CPU a core.
Cores read_cores(const std::vector<int64_t>& cpus,
                 const std::string& root = "");

}  // namespace timepipe
