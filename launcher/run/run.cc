// The training run: its loop is Run::train().

#include "launcher/run/run.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/config/config_text.h"
#include "launcher/data/train_data.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "launcher/run/banner.h"
#include "launcher/run/lock.h"
#include "launcher/run/memory_check.h"
#include "launcher/run/metrics.h"
#include "launcher/run/progress.h"
#include "launcher/run/rank_report.h"
#include "launcher/run/saves.h"
#include "launcher/run/signals.h"
#include "launcher/run/start.h"
#include "launcher/trainer/trainer.h"
#include "runtime/termination.h"

namespace timepipe {
namespace {

// What a run needs before the first message between ranks.
struct Inputs {
  RunConfig config;
  TrainData data;

  Inputs(const std::string& path, const std::vector<std::string>& overrides,
         int ranks)
      : config(checked(load_config(path, overrides), ranks)), data(config) {
    if (config.run_dir.empty()) return;
    const std::string folder = config.run_dir + "/checkpoints";
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw IoError("run_dir: " + folder + ": " + error.message());
  }

  static RunConfig checked(RunConfig config, int ranks) {
    const int64_t wanted = config.parallel.time * config.parallel.data;
    require(wanted == ranks, "parallel.time x parallel.data: " +
                                 std::to_string(config.parallel.time) + " x " +
                                 std::to_string(config.parallel.data) + " = " +
                                 std::to_string(wanted) +
                                 " ranks, but this job has " +
                                 std::to_string(ranks) + " (mpirun -n " +
                                 std::to_string(wanted) + ")");
    return config;
  }
};

// A run in its folder, from the weights that it starts with to its last step.
class Run {
 public:
  // Collective.
  Run(Communicator& world, const Inputs& inputs)
      : world_(world),
        inputs_(inputs),
        config_(inputs.config),
        trainer_(ctx_, world, config_.model, config_.train, config_.parallel,
                 config_.optimizer.adamw),
        saves_(ctx_, world, config_, trainer_, data_files(inputs.data)) {
    const RunStart start =
        start_run(ctx_, world, config_, inputs.data, trainer_);
    steps_done_ = start.steps_done;
    skipped_ = start.skipped_steps;
    digest_ = start.digest;
    log_line("starts after step " + std::to_string(steps_done_));
  }

  // Returns the exit status, as train() below.
  int train() {
    const int64_t steps = config_.optimizer.steps;
    if (steps_done_ >= steps) {
      if (speaks()) {
        std::printf("finished: %" PRId64 " steps done\n", steps_done_);
      }
      return 0;
    }
    answer_signals(has_folder());
    Progress progress(config_, peak_of_all_ranks(), steps_done_, speaks());
    std::optional<Metrics> metrics;
    if (speaks() && has_folder()) metrics.emplace(config_.run_dir, steps_done_);
    introduce(progress);

    int signal = 0;
    int64_t step = steps_done_;
    while (step < steps && signal == 0) {
      do_step(step, progress, metrics);
      ++step;
      signal = asked_on_any_rank(world_);
      save_if_due(step, step == steps || signal != 0);
      if (signal != 0 || !evaluates(step)) continue;
      evaluate(step, progress);
      signal = asked_on_any_rank(world_);
      if (signal != 0) save_if_due(step, /*leaves=*/true);
    }
    progress.finish();
    if (step < steps) return leave_early(step, signal, progress);
    log_line("all steps done, memory taken: " + taken_text());
    report();
    return 0;
  }

 private:
  bool speaks() const { return world_.rank() == 0; }
  bool has_folder() const { return !config_.run_dir.empty(); }

  double peak_of_all_ranks() {
    const auto all = gather_values(world_, measure_peak_flops());
    return std::accumulate(all.begin(), all.end(), 0.0);
  }

  void introduce(Progress& progress) {
    progress.begin();
    if (steps_done_ > 0) {
      progress.say("resumed after step " + std::to_string(steps_done_));
    }
  }

  void do_step(int64_t step, Progress& progress,
               std::optional<Metrics>& metrics) {
    const double lr = learning_rate(config_.optimizer, step);
    if (speaks()) {
      trainer_.set_watch([step, &progress](const StepPosition& position) {
        progress.within(step, position);
      });
    }
    const Trainer::StepResult result =
        trainer_.step(inputs_.data.batch(step), lr,
                      inner_rate_multiplier(config_.optimizer,
                                            config_.model.ttt_base_lr, step),
                      step);
    const StepTime time = progress.step_time();
    progress.step(step, result, time);
    if (metrics) metrics->write(step, result, lr, time);
    digest_ = result.digest;
    count_skipped(result.finite);
  }

  // `finite` is the same on all ranks.
  void count_skipped(bool finite) {
    skipped_ += finite ? 0 : 1;
    skipped_in_a_row_ = finite ? 0 : skipped_in_a_row_ + 1;
    const int64_t most = config_.optimizer.max_skipped_steps;
    require(skipped_in_a_row_ < most,
            std::to_string(skipped_in_a_row_) +
                " steps in a row without a finite loss and gradient, expected "
                "fewer than optimizer.max_skipped_steps = " +
                std::to_string(most));
  }

  void save_if_due(int64_t steps_done, bool leaves) {
    saves_.after_step(steps_done, skipped_, digest_, leaves);
  }

  bool evaluates(int64_t steps_done) const {
    return config_.eval.every > 0 && steps_done % config_.eval.every == 0;
  }

  // The mean over the first held-out sequences, whatever the step. Collective.
  void evaluate(int64_t steps_done, Progress& progress) {
    const double loss =
        trainer_.evaluate(inputs_.data.held_out_batch(config_.eval.sequences));
    progress.say("step " + std::to_string(steps_done) + ": held-out loss " +
                 std::to_string(loss));
    progress.leave_out();
  }

  int leave_early(int64_t steps_done, int signal, Progress& progress) {
    set_on_signal(OnSignal::kIgnore, "");  // mpirun ends the later ranks by one
    const std::string line = std::string(name_of_signal(signal)) +
                             ": saved after step " +
                             std::to_string(steps_done) + " of " +
                             std::to_string(config_.optimizer.steps) + " in " +
                             checkpoint_folder(config_.run_dir, steps_done) +
                             "; the same command goes on from there";
    progress.say(line);
    log_line(line);
    return 128 + signal;
  }

  // What this rank's pool gave out at most, by use, and has now.
  std::string taken_text() {
    const auto mib = [](int64_t bytes) {
      char text[32];
      std::snprintf(text, sizeof(text), "%.1f MiB",
                    static_cast<double>(bytes) / (1 << 20));
      return std::string(text);
    };
    const MemoryPool& pool = ctx_.pool();
    return "parameters and sums " +
           mib(pool.peak_bytes(MemoryUse::kParameters)) + ", activations " +
           mib(pool.peak_bytes(MemoryUse::kActivations)) + ", borders " +
           mib(pool.peak_bytes(MemoryUse::kBorders)) + ", scratch " +
           mib(pool.peak_bytes(MemoryUse::kScratch)) + "; held " +
           mib(pool.held_bytes());
  }

  // Collective.
  void report() {
    if (speaks()) std::printf("final digest %016" PRIx64 "\n", digest_);
    report_ranks(
        world_, config_, config_.optimizer.steps - steps_done_,
        {.sent_bytes = trainer_.bytes_sent_in_steps(),
         .activation_bytes = ctx_.pool().peak_bytes(MemoryUse::kActivations)});
  }

  Communicator& world_;
  const Inputs& inputs_;
  const RunConfig& config_;
  Context ctx_;
  Trainer trainer_;
  Saves saves_;
  int64_t steps_done_ = 0;  // when the run was started or resumed
  int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  uint64_t digest_ = 0;
};

// What a rank is, at the head of its log.
void open_log(const RunConfig& config, const Communicator& world) {
  start_rank_log(config.run_dir, world.rank());
  log_line("rank " + std::to_string(world.rank()) + " of " +
           std::to_string(world.size()) + ", " + describe_process());
  log_line(std::to_string(config.parallel.time) + " time x " +
           std::to_string(config.parallel.data) + " data rank(s), " +
           std::to_string(config.num_chunks()) + " chunk(s) of " +
           std::to_string(config.train.chunk_tokens) + " tokens, " +
           std::to_string(config.train.hot_rounds) + " hot round(s), device " +
           config.device);
}

// Says what is trained and with what memory, before any of it is taken.
// Collective.
void introduce(Communicator& world, const RunConfig& config) {
  const auto time = static_cast<int>(config.parallel.time);
  const MemoryPlan memory =
      plan_memory(plan_input(config, world.rank() / time))[world.rank() % time];
  log_line("memory: " + to_string(memory));
  if (world.rank() == 0) {
    std::printf("%s", banner(config, memory).c_str());
    std::fflush(stdout);
  }
  if (!config.parallel.check_memory) return;
  prepare_together(world, [&] { require_memory(world, memory); });
}

}  // namespace

int train(Communicator& world, const std::string& path,
          const std::vector<std::string>& overrides) {
  std::optional<Inputs> inputs;
  prepare_together(world,
                   [&] { inputs.emplace(path, overrides, world.size()); });
  require_same_on_all_ranks(world, "configuration",
                            std::hash<std::string>()(to_text(inputs->config)));
  require_same_on_all_ranks(world, "file data.train", inputs->data.hash());
  world.set_timeout(inputs->config.parallel.timeout_seconds);
  std::optional<RunLock> lock;  // of the whole job
  if (!inputs->config.run_dir.empty()) {
    prepare_together(world, [&] {
      if (world.rank() == 0) lock.emplace(inputs->config.run_dir);
    });
    prepare_together(world, [&] { open_log(inputs->config, world); });
  }
  introduce(world, inputs->config);
  return Run(world, *inputs).train();
}

}  // namespace timepipe
