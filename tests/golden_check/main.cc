#include <glog/logging.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "launcher/huggingface/hf_folder.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_device.h"
#include "launcher/process/set_threads.h"
#include "runtime/files.h"
#include "runtime/standard_streams.h"
#include "tests/golden_check/golden.h"

// golden_check DIR: runs a folder of the form described in the goldens README
// and compares every quantity. The kind is told by the folder's contents. Under
// mpirun, models, modules and optimizer runs go through the time pipeline.

namespace timepipe::golden {
namespace {

void check(const Options& options, Communicator& world, Report& report) {
  const std::string& directory = options.directory;
  const Case golden(directory);
  require(world.size() % options.data_ranks == 0,
          "--data-ranks " + std::to_string(options.data_ranks) +
              ": expected a divisor of " + std::to_string(world.size()) +
              " ranks");
  if (golden.has("XQ")) {
    if (world.rank() == 0) check_layer(options, golden, report);
  } else if (golden.has("step_logits")) {
    if (world.rank() == 0) check_gen(options, golden, report);
  } else if (golden.has("cot.y")) {
    check_module(options, golden, world, report);
  } else if (golden.has("tokens") && golden.has("grad_norm")) {
    check_optimizer(options, golden, world, report);
  } else if (golden.has("targets") || golden.has("labels")) {
    check_model(options, golden, world, report);
  } else if (golden.has("input_ids") && is_hf_folder(directory)) {
    check_hf(options, golden, world, report);
  } else {
    throw InvalidArgument(directory +
                          ": not a layer, module, model, gen, opt or hf case");
  }
  for (const std::string& name : golden.unread()) {
    report.remark("not compared: " + name);
  }
}

// Ranks read the same files, so that all meet the same error and go on to the
// next folder; one that is alone with it leaves the others to their deadline.
void check_or_stop(const Options& options, Communicator& world,
                   Report& report) {
  try {
    check(options, world, report);
  } catch (const Blocked& error) {
    report.stopped(error.what());
    report.finish(options.directory);
    throw;
  } catch (const std::exception& error) {
    report.stopped(error.what());
    if (world.rank() > 0) {
      std::cerr << "rank " + std::to_string(world.rank()) + ": " +
                       error.what() + "\n";
    }
  }
}

// Of a folder's case; none without a file. Throws InvalidArgument if the file
// has no such case.
std::optional<Report::Errors> errors_of(const std::string& path,
                                        const std::string& directory) {
  if (path.empty()) return std::nullopt;
  const std::string name =
      std::filesystem::path(directory).lexically_normal().filename().string();
  const nlohmann::json all = nlohmann::json::parse(read_text(path));
  require(all.contains(name), path + ": no case " + name);
  return all.at(name).get<Report::Errors>();
}

int run(int* argc, char*** argv) {
  CLI::App app("Compares a folder of golden values with this program.",
               "golden_check");
  app.footer(
      "Example: mpirun -n 3 golden_check tests/golden/model_tiny "
      "--chunk 16 --dtype f32");
  Options options;
  std::vector<std::string> directories;
  std::string dtype = "f64", device = "cpu", errors_path;
  app.add_option("DIR", directories, "Folders, one case each")->required();
  app.add_option("--dtype", dtype, "Arithmetic")
      ->check(CLI::IsMember({"f64", "f32", "bf16"}))
      ->capture_default_str();
  app.add_option("--device", device,
                 "What computes: cpu, cuda (of several ranks each the next) or "
                 "cuda:N")
      ->capture_default_str();
  app.add_option("--errors", errors_path,
                 "JSON {case: {quantity: error}} of a reference with the same "
                 "roundings: tolerances are twice these. bf16 needs it")
      ->check(CLI::ExistingFile);
  app.add_option("--chunk", options.chunk,
                 "Tokens of a chunk, rounded up to mini-batches; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--hot-rounds", options.hot_rounds,
                 "Chunks of a rank that are not recomputed")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_option("--data-ranks", options.data_ranks, "Ranks / time ranks")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--micro-batch", options.micro_batch,
                 "Sequences side by side: copies and mixtures of the folder's")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  try {
    app.parse(*argc, *argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  options.dtype = dtype_named(dtype).value();
  if (options.dtype == DType::kBF16 && errors_path.empty()) {
    std::cerr << "golden_check: --dtype bf16: expected --errors\n";
    return 2;
  }
  bool ok = true;
  const int status = run_job(argc, argv, [&](Communicator& world) {
    world.set_timeout(ParallelConfig().timeout_seconds);
    const JobThreads threads = set_threads(world);
    if (world.rank() == 0 && !threads.warning.empty()) {
      std::cerr << "golden_check: threads: " + threads.line + ", " +
                       threads.warning + "\n";
    }
    options.device = device_of_rank(world, device);
    for (const std::string& directory : directories) {
      options.directory = directory;
      Report report(world.rank() == 0, errors_of(errors_path, directory));
      check_or_stop(options, world, report);
      if (world.rank() == 0) ok = report.finish(directory) && ok;
    }
  });
  return status != 0 ? status : (ok ? 0 : 1);
}

}  // namespace
}  // namespace timepipe::golden

int main(int argc, char** argv) {
  timepipe::open_closed_streams();
  timepipe::restart_with_wait_policy(argv);
  FLAGS_logtostderr = true;
  google::InitGoogleLogging(argv[0]);
  return timepipe::golden::run(&argc, &argv);
}
