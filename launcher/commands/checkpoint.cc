// timepipe checkpoint list, verify and diff

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <set>

#include "launcher/checkpoint/best.h"
#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/commands/commands.h"
#include "launcher/config/config_text.h"
#include "runtime/byte_text.h"
#include "runtime/number_text.h"

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

enum class State { kWhole, kBroken, kGone };

// Checks one checkpoint and prints a line, with `mark` at its end. One that a
// run removed meanwhile isn't printed.
State print(const std::string& folder, const std::string& mark = "") {
  try {
    const CheckpointReader reader(folder);
    reader.verify();
    const Manifest& m = reader.manifest();
    const std::string loss =
        m.held_out_loss ? "  held-out loss " + significant(*m.held_out_loss, 7)
                        : "";
    std::printf("%s  step %" PRId64 "  %zu shard(s)  %s  digest %016" PRIx64
                "%s  ok%s\n",
                folder.c_str(), m.steps, m.shards.size(),
                byte_text(size_of_shards(m)).c_str(), m.digest, loss.c_str(),
                mark.c_str());
    return State::kWhole;
  } catch (const std::exception& error) {
    if (!is_checkpoint(folder)) return State::kGone;
    std::printf("%s  BROKEN  %s\n", folder.c_str(), error.what());
    return State::kBroken;
  }
}

// Prints the checkpoints of a run folder; 1 if one is broken.
int list_all(const std::string& run_dir) {
  for (;;) {
    const auto checkpoints = list_checkpoints(run_dir);
    if (checkpoints.empty()) throw_no_checkpoint(run_dir, "a run folder");
    std::set<State> seen;
    const std::vector<int64_t> best = best_of(checkpoints, 1);
    for (const auto& [steps, folder] : checkpoints) {
      seen.insert(
          print(folder, std::ranges::count(best, steps) ? "  best" : ""));
    }
    if (seen.contains(State::kBroken)) return 1;
    if (seen.contains(State::kWhole)) return 0;
  }
}

// Checks every checksum of a checkpoint, or of the newest of a run folder; 1
// and what is wrong if it is broken.
int verify_newest(const std::string& folder) {
  for (;;) {
    const auto checkpoints = list_checkpoints(folder);
    if (checkpoints.empty()) break;
    const State state = print(checkpoints.back().second);
    if (state != State::kGone) return state == State::kWhole ? 0 : 1;
  }
  const State state = print(folder);
  if (state == State::kGone) {
    throw_no_checkpoint(folder, "a checkpoint or a run folder with one");
  }
  return state == State::kWhole ? 0 : 1;
}

// Compares two checkpoints, or the newest of two run folders, bit by bit; 1 and
// the first difference if there is one.
int compare(const std::string& a, const std::string& b) {
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

}  // namespace

void add_checkpoint(CLI::App& app, int& status) {
  CLI::App& command = *app.add_subcommand(
      "checkpoint", "List, check, compare, import and export checkpoints");
  command.require_subcommand(1);
  command.footer("Example:\n  timepipe checkpoint diff runs/a runs/b");
  struct Arguments {
    std::string first, second;
  };
  const auto a = std::make_shared<Arguments>();
  CLI::App& list = *command.add_subcommand(
      "list", "Check and print the checkpoints of a run folder");
  list.add_option("RUN_DIR", a->first, "Run folder")->required();
  list.footer("Example:\n  timepipe checkpoint list runs/a");
  list.callback([=, &status] { status = list_all(a->first); });
  CLI::App& verify =
      *command.add_subcommand("verify", "Check every checksum of a checkpoint");
  verify
      .add_option("CHECKPOINT", a->first,
                  "Its folder, or a run folder: its newest")
      ->required();
  verify.footer(
      "Example:\n  timepipe checkpoint verify runs/a/checkpoints/step-000100");
  verify.callback([=, &status] { status = verify_newest(a->first); });
  CLI::App& diff = *command.add_subcommand(
      "diff", "Name the first difference of two checkpoints, if any");
  diff.add_option("A", a->first, "Checkpoint or run folder")->required();
  diff.add_option("B", a->second, "Checkpoint or run folder")->required();
  diff.footer("Example:\n  timepipe checkpoint diff runs/a runs/b");
  diff.callback([=, &status] { status = compare(a->first, a->second); });
  add_exchange(command, status);
}

}  // namespace timepipe
