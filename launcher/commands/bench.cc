// timepipe bench

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <regex>

#include "launcher/bench/bench_text.h"
#include "launcher/commands/commands.h"
#include "launcher/commands/shared_options.h"
#include "launcher/process/result_file.h"
#include "launcher/process/standard_output.h"

namespace timepipe {
namespace {

struct Options {
  DeviceOption device;
  std::string size = "125m", only, json;
  int64_t tokens = 0;  // 0: those of the size
  double budget = 0.3;
};

// The paper's heads, and as many as an H100 has multiprocessors.
std::vector<int64_t> scan_heads(const BenchSizes& sizes) {
  if (sizes.name == "tiny") return {1, 2};
  return {1, 12, 32, 132};
}

void add_scans(KernelBench& bench, const BenchSizes& sizes,
               std::vector<ScanFigures>& scans) {
  write_output(scan_heading());
  for (const InnerModel inner : {InnerModel::kLinear, InnerModel::kMlp}) {
    for (const bool backward : {false, true}) {
      for (const int64_t heads : scan_heads(sizes)) {
        scans.push_back(bench.run_scan(inner, backward, heads));
        write_output(scan_line(scans.back()));
      }
    }
  }
}

// Whether all results were right.
bool run(const Options& options) {
  BenchSizes sizes = bench_sizes(options.size).value();
  if (options.tokens > 0) sizes.tokens = options.tokens;
  const std::regex only(options.only);
  std::vector<KernelCase> kernels = kernel_cases();
  std::erase_if(kernels, [&](const KernelCase& kernel) {
    return !std::regex_search(kernel.name, only);
  });
  const bool with_scans = std::regex_search("scans", only);
  require(!kernels.empty() || with_scans, "--only: ", options.only,
          ", expected what matches the name of a kernel, or scans");
  if (!options.json.empty()) require_can_be_written(options.json);

  Context ctx(options.device.device());
  KernelBench bench(ctx, sizes, options.budget);
  write_output(limits_line(bench.limits()) + kernel_heading());
  std::vector<KernelFigures> figures;
  bool right = true;
  for (const KernelCase& kernel : kernels) {
    for (const DType stored : {DType::kF32, DType::kBF16}) {
      if (stored == DType::kBF16 && !kernel.in_bf16) continue;
      figures.push_back(bench.run(kernel, stored));
      write_output(kernel_line(figures.back()));
      right = right && figures.back().right();
    }
  }
  std::vector<ScanFigures> scans;
  if (with_scans) add_scans(bench, sizes, scans);
  if (!options.json.empty()) {
    write_result(options.json, bench_json(ctx.device(), sizes, bench.limits(),
                                          figures, scans));
  }
  return right;
}

void add_bench_kernels(CLI::App& bench, int& status) {
  CLI::App& command = *bench.add_subcommand(
      "kernels", "Time every kernel and compare its results with those in f64");
  const auto options = std::make_shared<Options>();
  options->device.add_to(command);
  command
      .add_option("--size", options->size,
                  "Model of the paper whose sizes the operands have: 125m, "
                  "350m, 760m, 1.3b; or tiny. Default: 125m")
      ->check(CLI::IsMember({"tiny", "125m", "350m", "760m", "1.3b"}));
  command
      .add_option("--tokens", options->tokens,
                  "Rows of a chunk. Default: 2048, the paper's context")
      ->check(CLI::Range(int64_t{4}, int64_t{1} << 20));
  command.add_option("--only", options->only,
                     "Kernels whose names match this expression; scans: the "
                     "scan by number of heads. Default: all");
  command
      .add_option("--seconds", options->budget,
                  "Of each measurement, about. Default: 0.3")
      ->check(CLI::Range(0., 60.));
  command.add_option("--json", options->json, "File for the same as JSON");
  command.footer(
      "MB: each operand read or written once; GFLOP: of the definition; "
      "share:\n"
      "of the time that the device's own copies or products would take, as\n"
      "measured first; error: the largest, as a share of the largest element,\n"
      "over 128 rows. Status 1 if one is larger than allowed.\n"
      "Example:\n  timepipe bench kernels --size 1.3b --only rmsnorm");
  command.callback([=, &status] { status = run(*options) ? 0 : 1; });
}

}  // namespace

void add_bench(CLI::App& app, int& status) {
  CLI::App& command =
      *app.add_subcommand("bench", "Measure what this program is made of");
  command.require_subcommand(1);
  add_bench_kernels(command, status);
}

}  // namespace timepipe
