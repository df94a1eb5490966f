// Looks in the environment for what a launcher set there.

#include "parallel/launched.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

namespace timepipe {
namespace {

struct Variables {
  const char *processes, *rank, *on_host;
};

// In this order: mpirun, MPICH's hydra, srun, a batch script without any of
// them; mpirun inside of a Slurm job shows Slurm's variables too, with other
// numbers.
constexpr std::array<Variables, 4> kLaunchers = {{
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_TASKS_PER_NODE"},
    {"SLURM_NTASKS", "SLURM_PROCID", ""},
}};

// The number that a variable begins with: "4(x2),3" is 4, of Slurm's first
// host.
int64_t number(const char* variable, int64_t otherwise) {
  const char* value = std::getenv(variable);
  return value == nullptr ? otherwise : std::atoll(value);
}

}  // namespace

Launched launched() {
  for (const Variables& names : kLaunchers) {
    if (std::getenv(names.processes) == nullptr) continue;
    const bool script = std::string_view(names.processes) == "SLURM_NTASKS";
    return {.variable = names.processes,
            .processes = number(names.processes, 1),
            .rank = number(names.rank, 0),
            .on_host = std::max<int64_t>(number(names.on_host, 1), 1),
            .batch_script = script};
  }
  return {};
}

}  // namespace timepipe
