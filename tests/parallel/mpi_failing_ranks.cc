// Ranks that fail, for mpi_failures.sh: mpi_failing_ranks MODE
// DEADLINE_SECONDS. The last rank fails in the way of MODE, the others wait for
// it.

#include <signal.h>
#include <unistd.h>

#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport.h"
#include "parallel/watchdog.h"
#include "runtime/termination.h"

namespace timepipe {
namespace {

constexpr Tag kReady{Border::kHaloX, Lane::kForward, 0, 5, 2};
constexpr Tag kNever{Border::kState, Lane::kForward, 0, 5, 2};

void stop_answering() {
  set_activity("not answering");
  for (;;) pause();
}

// Returns when all others wait for this rank.
void wait_until_others_wait(Communicator& world) {
  std::vector<std::byte> nothing;
  for (int peer = 0; peer < world.rank(); ++peer) {
    world.transport().irecv(nothing, peer, kReady).wait();
  }
  world.set_timeout(0.3);
  try {
    world.transport().irecv(nothing, 0, kNever).wait();
  } catch (const Blocked&) {  // as intended
  }
}

void fail(const std::string& mode, Communicator& world) {
  if (mode == "silent") stop_answering();
  wait_until_others_wait(world);
  if (mode == "stopped") raise(SIGSTOP);
  if (mode == "killed") raise(SIGKILL);
  if (mode == "throws") throw std::runtime_error("disk full");
}

void run(const std::string& mode, Communicator& world) {
  std::vector<std::byte> nothing;
  const int last = world.size() - 1;
  if (mode == "late") {  // for the end
    if (world.rank() == last) stop_answering();
    return;
  }
  if (world.rank() == last) return fail(mode, world);
  if (mode != "silent") world.transport().isend(nothing, last, kReady).wait();
  world.transport().irecv(nothing, last, kNever).wait();
}

}  // namespace
}  // namespace timepipe

int main(int argc, char** argv) {
  using namespace timepipe;
  int rank = -1;
  try {
    const auto world = make_mpi_communicator(&argc, &argv);
    rank = world->rank();
    install_termination_report(rank);
    set_current_step(7);
    world->set_timeout(std::stod(argv[2]));
    run(argv[1], *world);
    return 0;
  } catch (const Blocked& blocked) {
    std::cerr << blocked.what() + std::string("\n");
  } catch (const std::exception& error) {
    std::cerr << "rank " + std::to_string(rank) + ": " + error.what() + "\n";
  }
  abort_all_ranks(75);
}
