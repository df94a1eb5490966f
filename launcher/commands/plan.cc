// timepipe plan

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/config/config_text.h"
#include "launcher/process/standard_output.h"
#include "launcher/run/banner.h"
#include "runtime/byte_text.h"
#include "runtime/device_facts.h"
#include "runtime/host_memory.h"

namespace timepipe {
namespace {

// The time rank that needs most, of the data rank with most sequences.
MemoryPlan largest_plan(const RunConfig& config) {
  const auto plans = plan_memory(plan_input(config, /*data_rank=*/0));
  return *std::ranges::max_element(plans, {}, &MemoryPlan::total);
}

std::string row(const RunConfig& config, const MemoryPlan& plan, char mark) {
  const int64_t rest =
      plan.total() - plan.activations - plan.borders - plan.scratch - plan.step;
  char text[160];
  std::snprintf(
      text, sizeof(text),
      "%c %12" PRId64 " %8" PRId64 " %12s %12s %12s %12s %12s\n", mark,
      config.train.chunk_tokens, config.num_chunks(),
      byte_text(plan.total()).c_str(), byte_text(plan.activations).c_str(),
      byte_text(plan.borders).c_str(),
      byte_text(plan.scratch + plan.step).c_str(), byte_text(rest).c_str());
  return text;
}

// The same run with chunks of other lengths, those that its ranks allow.
std::string table(RunConfig config) {
  constexpr int64_t kShortest = 256, kLongest = 65536;
  const int64_t chosen = config.train.chunk_tokens;
  const int64_t mini_batch = config.model.mini_batch_size;
  std::vector<int64_t> lengths = {chosen};
  for (int64_t tokens = kShortest; tokens <= kLongest; tokens *= 2) {
    lengths.push_back((tokens + mini_batch - 1) / mini_batch * mini_batch);
    if (tokens >= config.data.sequence_length) break;
  }
  std::ranges::sort(lengths);
  lengths.erase(std::ranges::unique(lengths).begin(), lengths.end());
  std::string text =
      "per rank at most, by train.chunk_tokens (*: this configuration):\n"
      "  chunk_tokens   chunks        total  activations      borders "
      "scratch, ids     weights.. \n";
  for (const int64_t tokens : lengths) {
    config.train.chunk_tokens = tokens;
    try {
      validate(config);
    } catch (const InvalidArgument&) {
      continue;  // too few chunks for the ranks, say
    }
    text += row(config, largest_plan(config), tokens == chosen ? '*' : ' ');
  }
  return text;
}

// Ranks are time ranks, as many groups of them as parallel.data says.
void set_ranks(RunConfig& config, int64_t ranks) {
  const int64_t data = config.parallel.data;
  require(ranks % data == 0, "--ranks: ", ranks,
          ", expected a multiple of parallel.data = ", data);
  config.parallel.time = ranks / data;
  validate(config);
}

std::string available_here(const RunConfig& config) {
  const AvailableMemory here = available_memory();
  const std::string host =
      byte_text(here.bytes) + " available (" + here.limit + ")";
  const Device device = device_named(config.device).value();
  if (device == Device{}) return host;
  if (num_cuda_devices() == 0) return host + "; no CUDA device is visible";
  return host + "; " + byte_text(facts_of(device).free_bytes) + " of " +
         to_string(device);
}

}  // namespace

void add_plan(CLI::App& app, int& status) {
  struct Options : ConfigOptions {
    int64_t ranks = 0;
  };
  CLI::App& command = *app.add_subcommand(
      "plan", "Print the memory that a run needs, without running it");
  const auto options = std::make_shared<Options>();
  options->add_to(command);
  command
      .add_option("--ranks", options->ranks,
                  "Ranks of the job. Default: parallel.time x parallel.data")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command.footer(
      "Choose the train.chunk_tokens with the least memory, or a longer one:\n"
      "short chunks keep many borders, long ones many activations. It is part\n"
      "of what defines a run's bits.\n"
      "Example:\n"
      "  timepipe plan configs/ttt-350m-linear-mamba.textproto --ranks 4 \\\n"
      "    data.sequence_length=1048576 data.batch=1");
  command.callback([=, &status] {
    RunConfig config = load_config(options->path, options->overrides);
    if (options->ranks > 0) set_ranks(config, options->ranks);
    write_output(banner(config, largest_plan(config)) +
                 "here:  " + available_here(config) + "\n" + table(config));
    status = 0;
  });
}

}  // namespace timepipe
