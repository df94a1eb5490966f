#include "launcher/run/introduce.h"

#include <cstdio>
#include <string>
#include <vector>

#include "launcher/process/job.h"
#include "launcher/process/rank_device.h"
#include "launcher/process/rank_log.h"
#include "launcher/process/version.h"
#include "launcher/run/banner.h"
#include "launcher/run/memory_check.h"
#include "runtime/list_text.h"

namespace timepipe {
namespace {

// "2 file(s), 4100 tokens: a.txt (4000), b.bin (100)", those of data.train.
std::string to_string(const TrainData& data) {
  int64_t tokens = 0;
  std::vector<std::string> files;
  for (const TrainData::File& trained : data.trained_files()) {
    const int64_t count = trained.file->num_tokens();
    tokens += count;
    files.push_back(trained.path + " (" + std::to_string(count) + ")");
  }
  return std::to_string(files.size()) + " file(s), " + std::to_string(tokens) +
         " tokens: " + first_few(files);
}

}  // namespace

void open_log(const RunConfig& config, const Communicator& world) {
  start_rank_log(config.run_dir, world.rank());
  log_line(version_text());
  log_line("rank " + std::to_string(world.rank()) + " of " +
           std::to_string(world.size()) + ", " + describe_process());
  log_line(std::to_string(config.parallel.time) + " time x " +
           std::to_string(config.parallel.data) + " data rank(s), " +
           std::to_string(config.num_chunks()) + " chunk(s) of " +
           std::to_string(config.train.chunk_tokens) + " tokens, " +
           std::to_string(config.train.micro_batch) + " sequence(s) at once, " +
           std::to_string(config.train.hot_rounds) + " hot round(s), device " +
           config.device);
}

void introduce(Communicator& world, const RunConfig& config,
               const TrainData& data, const JobThreads& threads,
               Device device) {
  const auto time = static_cast<int>(config.parallel.time);
  const MemoryPlan memory =
      plan_memory(plan_input(config, world.rank() / time))[world.rank() % time];
  const JobDevices devices = describe_devices(world, device);
  log_line("data: " + to_string(data));
  log_line("memory: " + to_string(memory));
  log_line("threads: " + threads.line);
  log_line("device: " + devices.line);
  if (world.rank() == 0) {
    std::printf("%s\n%sdata:  %s\nthreads: %s\ndevice: %s\n", version_text(),
                banner(config, memory).c_str(), to_string(data).c_str(),
                threads.line.c_str(), devices.line.c_str());
    for (const std::string& warning : {threads.warning, devices.warning}) {
      if (!warning.empty()) std::printf("warning: %s\n", warning.c_str());
    }
    std::fflush(stdout);
  }
  if (!config.parallel.check_memory) return;
  prepare_together(world, [&] { require_memory(world, memory, device); });
}

}  // namespace timepipe
