#include "launcher/run/introduce.h"

#include <cstdio>
#include <string>

#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "launcher/process/version.h"
#include "launcher/run/banner.h"
#include "launcher/run/memory_check.h"

namespace timepipe {

void open_log(const RunConfig& config, const Communicator& world) {
  start_rank_log(config.run_dir, world.rank());
  log_line(version_text());
  log_line("rank " + std::to_string(world.rank()) + " of " +
           std::to_string(world.size()) + ", " + describe_process());
  log_line(std::to_string(config.parallel.time) + " time x " +
           std::to_string(config.parallel.data) + " data rank(s), " +
           std::to_string(config.num_chunks()) + " chunk(s) of " +
           std::to_string(config.train.chunk_tokens) + " tokens, " +
           std::to_string(config.train.hot_rounds) + " hot round(s), device " +
           config.device);
}

void introduce(Communicator& world, const RunConfig& config,
               const JobThreads& threads) {
  const auto time = static_cast<int>(config.parallel.time);
  const MemoryPlan memory =
      plan_memory(plan_input(config, world.rank() / time))[world.rank() % time];
  log_line("memory: " + to_string(memory));
  log_line("threads: " + threads.line);
  if (world.rank() == 0) {
    std::printf("%s\n%sthreads: %s\n", version_text(),
                banner(config, memory).c_str(), threads.line.c_str());
    if (!threads.warning.empty())
      std::printf("warning: %s\n", threads.warning.c_str());
    std::fflush(stdout);
  }
  if (!config.parallel.check_memory) return;
  prepare_together(world, [&] { require_memory(world, memory); });
}

}  // namespace timepipe
