#include "launcher/job.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <vector>

#include "runtime/error.h"

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

[[noreturn]] void end_all_ranks(const Communicator& world, const char* why,
                                int status) {
  std::cerr << "timepipe: rank " << world.rank() << ": " << why << std::endl;
#ifdef TIMEPIPE_WITH_MPI
  if (world.size() > 1) abort_all_ranks(status);
#endif
  _exit(status);
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
    std::cerr << "timepipe: " << error.what() << std::endl;
#ifdef TIMEPIPE_WITH_MPI
    if (world->size() > 1) abort_all_ranks(kExitBlocked);
#endif
    _exit(kExitBlocked);
  } catch (const std::exception& error) {
    end_all_ranks(*world, error.what(), kExitMistake);
  }
  return 0;
}

void prepare_together(Communicator& world,
                      const std::function<void()>& prepare) {
  std::string error;
  try {
    prepare();
  } catch (const std::exception& e) {
    error = e.what();
  }
  const int64_t failed = error.empty() ? 0 : 1;
  std::vector<int64_t> all(world.size());
  const std::vector<int64_t> counts(world.size(), sizeof(int64_t));
  world
      .all_gather(std::as_bytes(std::span(&failed, 1)), counts,
                  std::as_writable_bytes(std::span(all)))
      .wait();
  const auto first = std::find(all.begin(), all.end(), 1);
  if (first == all.end()) return;
  if (first - all.begin() == world.rank()) {
    std::cerr << "timepipe: " << error << std::endl;
  }
  throw Mistake{};
}

}  // namespace timepipe
