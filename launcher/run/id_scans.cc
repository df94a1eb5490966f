#include "launcher/run/id_scans.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "launcher/process/job.h"
#include "launcher/process/read_progress.h"
#include "launcher/process/set_threads.h"

namespace timepipe {

std::unique_ptr<IdScan> look_through_ids(Communicator& world,
                                         const RunConfig& config,
                                         const TrainData& data) {
  constexpr int64_t kAtStart = int64_t{4} << 30;
  const std::string& run_dir = config.run_dir;
  const std::string memory = run_dir.empty() ? "" : run_dir + "/scanned.json";
  std::unique_ptr<IdScan> scan;
  if (is_first_of_host(world)) {
    std::vector<const TokenFile*> files;
    for (const auto& file : data.files()) files.push_back(file.get());
    scan = std::make_unique<IdScan>(files, config.model.vocab_size, memory);
  }
  const int64_t total = scan ? std::min(scan->bytes_left(), kAtStart) : 0;
  std::optional<ReadProgress> progress;
  if (world.rank() == 0 && total > 0) {
    progress.emplace("looks through the ids of the data", total, "bytes");
  }
  int64_t done = 0;
  for (bool more = true; more;) {  // in short pieces: no rank waits for long
    prepare_together(world, [&] {
      if (done < total) done += scan->read_some();
    });
    if (progress) progress->at(done);
    more = on_any_rank(world, done < total);
  }
  prepare_together(world, [&] {
    if (progress && !memory.empty()) scan->keep_memory(memory);
  });
  if (scan) scan->go_on_in_background();
  return scan;
}

}  // namespace timepipe
