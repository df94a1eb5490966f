#include <cinttypes>
#include <cstdio>
#include <exception>
#include <iostream>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/commands/commands.h"
#include "launcher/config/config_text.h"

namespace timepipe {
namespace {

void say(const std::string& line) { std::cerr << "timepipe: " + line + "\n"; }

int64_t size_of_shards(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const Manifest::Shard& shard : manifest.shards) {
    bytes += shard.size_bytes;
  }
  return bytes;
}

// Checks one checkpoint and prints a line; returns whether it is whole.
bool print(const std::string& folder) {
  try {
    const CheckpointReader reader(folder);
    reader.verify();
    std::printf(
        "%s  step %" PRId64
        "  %zu shard(s)  %.1f MiB  digest "
        "%016" PRIx64 "  ok\n",
        folder.c_str(), reader.manifest().steps,
        reader.manifest().shards.size(),
        static_cast<double>(size_of_shards(reader.manifest())) / (1 << 20),
        reader.manifest().digest);
    return true;
  } catch (const std::exception& error) {
    std::printf("%s  BROKEN  %s\n", folder.c_str(), error.what());
    return false;
  }
}

}  // namespace

int cmd_checkpoint_list(const std::string& run_dir) {
  const auto checkpoints = list_checkpoints(run_dir);
  require(!checkpoints.empty(), run_dir + ": no checkpoints");
  bool all_whole = true;
  for (const auto& [steps, folder] : checkpoints) all_whole &= print(folder);
  return all_whole ? 0 : 1;
}

int cmd_checkpoint_verify(const std::string& folder) {
  const auto checkpoints = list_checkpoints(folder);
  const std::string& path =
      checkpoints.empty() ? folder : checkpoints.back().second;
  return print(path) ? 0 : 1;
}

int cmd_checkpoint_diff(const std::string& a, const std::string& b) {
  const CheckpointReader first = open_checkpoint(a, say);
  const CheckpointReader second = open_checkpoint(b, say);
  const std::string difference = first_difference(first, second);
  if (difference.empty()) {
    std::printf(
        "same: weights, optimizer state, counters and carried states of "
        "step %" PRId64 "\n",
        first.manifest().steps);
    return 0;
  }
  std::printf("different: %s\n", difference.c_str());
  return 1;
}

}  // namespace timepipe
