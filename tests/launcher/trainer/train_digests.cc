#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "launcher/process/job.h"
#include "tests/launcher/trainer/training_scenario.h"

// train_digests SCENARIO TIME DATA HOT_ROUNDS: runs the scenario on TIME x DATA
// ranks, started by mpirun, and prints the digest of every step.
int main(int argc, char** argv) {
  using namespace timepipe;
  if (argc != 5) return kExitMistake;
  const testing::Scenario scenario = testing::scenario_named(argv[1]);
  const testing::Layout layout{std::atoll(argv[2]), std::atoll(argv[3]),
                               std::atoll(argv[4])};
  return run_job(&argc, &argv, [&](Communicator& world) {
    const auto digests = testing::run_scenario(scenario, layout, world);
    if (world.rank() != 0) return;
    for (const uint64_t digest : digests) {
      std::printf("%016" PRIx64 "\n", digest);
    }
  });
}
