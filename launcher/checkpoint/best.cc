// The best checkpoints by held-out loss, and how one comes to have a loss.

#include "launcher/checkpoint/best.h"

#include <algorithm>
#include <exception>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/checkpoint/manifest.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

using Rank = std::pair<double, int64_t>;  // loss, steps: the lowest is best

Manifest read_manifest(const std::string& folder) {
  const std::string path = folder + "/manifest.json";
  return parse_manifest(read_text(path), path);
}

std::vector<Rank> ranked(
    const std::vector<std::pair<int64_t, std::string>>& checkpoints) {
  std::vector<Rank> ranks;
  for (const auto& [steps, folder] : checkpoints) {
    try {
      const auto loss = read_manifest(folder).held_out_loss;
      if (loss) ranks.emplace_back(*loss, steps);
    } catch (const std::exception&) {  // broken: who opens it says so
    }
  }
  std::ranges::sort(ranks);
  return ranks;
}

}  // namespace

std::vector<int64_t> best_of(
    const std::vector<std::pair<int64_t, std::string>>& checkpoints,
    int64_t count) {
  std::vector<int64_t> steps;
  if (count == 0) return steps;
  for (const Rank& rank : ranked(checkpoints)) {
    if (std::ssize(steps) < count) steps.push_back(rank.second);
  }
  return steps;
}

bool is_among_best(const std::string& run_dir, int64_t steps, double loss,
                   int64_t count) {
  if (count == 0) return false;
  auto others = list_checkpoints(run_dir);
  std::erase_if(others, [&](const auto& c) { return c.first >= steps; });
  const auto better = std::ranges::count_if(
      ranked(others),
      [&](const Rank& rank) { return rank < Rank(loss, steps); });
  return better < count;
}

void note_held_out_loss(const std::string& folder, double loss) {
  Manifest manifest = read_manifest(folder);
  manifest.held_out_loss = loss;
  write_file(folder + "/manifest.json", to_json(manifest));
}

}  // namespace timepipe
