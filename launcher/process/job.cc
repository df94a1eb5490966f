// Starts and ends the ranks of a job; how they fail together.

#include "launcher/process/job.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include "launcher/process/out_of_memory.h"
#include "launcher/process/rank_log.h"
#include "parallel/launched.h"
#include "runtime/error.h"
#include "runtime/host_memory.h"
#include "runtime/termination.h"

namespace timepipe {
namespace {

// All ranks leave together; the text has been printed by one of them.
struct Mistake {};

std::unique_ptr<Communicator> connect(int* argc, char*** argv) {
#ifdef TIMEPIPE_WITH_MPI
  if (started_by_mpi()) return make_mpi_communicator(argc, argv);
#else
  static_cast<void>(argc), static_cast<void>(argv);
#endif
  return make_self_communicator();
}

// Ends all ranks, without waiting for any.
[[noreturn]] void leave(const Communicator& world, int status) {
#ifdef TIMEPIPE_WITH_MPI
  if (world.size() > 1) abort_all_ranks(status);
#else
  static_cast<void>(world);
#endif
  std::fflush(nullptr);
  _exit(status);
}

// Nothing if `error` is empty on all ranks; else the lowest rank's on that
// rank, "" on all others. Collective.
std::optional<std::string> told_by_lowest(Communicator& world,
                                          const std::string& error) {
  const auto all = gather_values(world, error.empty() ? 0 : 1);
  const auto first = std::find(all.begin(), all.end(), 1);
  if (first == all.end()) return std::nullopt;
  return first - all.begin() == world.rank() ? error : "";
}

}  // namespace

int run_job(int* argc, char*** argv,
            const std::function<void(Communicator&)>& body) {
  const std::unique_ptr<Communicator> world = connect(argc, argv);
  install_termination_report(world->rank());
  try {
    body(*world);
  } catch (const Mistake&) {
    return kExitMistake;
  } catch (const Blocked& error) {  // its text begins with the rank
    tell(error.what());
    leave(*world, kExitBlocked);
  } catch (const std::exception& error) {
    tell("rank " + std::to_string(world->rank()) + ": " + line_of(error));
    leave(*world, kExitMistake);
  }
  return 0;
}

bool works_here(const std::string& command) {
  const Launched here = launched();
  if (here.processes <= 1 || here.batch_script) return true;
  if (here.rank != 0) return false;
  tell(command + ": rank 0 of " + std::to_string(here.processes) +
       " does it, the others leave: it needs no mpirun or srun");
  return true;
}

void prepare_together(Communicator& world,
                      const std::function<void()>& prepare) {
  std::string error;
  try {
    prepare();
  } catch (const Blocked&) {
    throw;
  } catch (const std::exception& e) {
    error = line_of(e);
  }
  const auto told = told_by_lowest(world, error);
  if (!told) return;
  if (!told->empty()) tell(*told);
  throw Mistake{};
}

std::optional<std::string> failure_together(Communicator& world,
                                            const std::function<void()>& part) {
  std::string error;
  try {
    part();
  } catch (const InvalidArgument& e) {
    error = e.what();
  } catch (const IoError& e) {
    error = e.what();
  }
  return told_by_lowest(world, error);
}

bool on_any_rank(Communicator& world, bool own) {
  const auto all = gather_values(world, int64_t{own});
  return std::ranges::find(all, 1) != all.end();
}

bool is_first_of_host(Communicator& world) {
  const auto hosts = gather_values(world, host_id());
  const auto own = hosts.begin() + world.rank();
  return std::find(hosts.begin(), own, *own) == own;
}

void require_same_on_all_ranks(Communicator& world, const std::string& what,
                               uint64_t value) {
  const auto all = gather_values(world, value);
  const auto other =
      std::find_if(all.begin(), all.end(),
                   [&](uint64_t of_rank) { return of_rank != all[0]; });
  require(other == all.end(), what, " of rank ", other - all.begin(),
          " isn't that of rank 0, expected the same "
          "on all ranks");
}

}  // namespace timepipe
