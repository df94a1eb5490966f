#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <numeric>
#include <optional>

#include "launcher/checkpoint.h"
#include "launcher/commands.h"
#include "launcher/hf_folder.h"
#include "launcher/job.h"
#include "launcher/metrics.h"
#include "launcher/progress.h"
#include "launcher/rank_report.h"
#include "launcher/train_data.h"
#include "launcher/trainer.h"
#include "models/build.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

// What train needs before the first message between ranks.
struct TrainInputs {
  RunConfig config;
  TrainData data;

  TrainInputs(const std::string& path,
              const std::vector<std::string>& overrides, int ranks)
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

uint64_t hash_of(const ParameterStore& weights) {
  const auto blocks = static_cast<int64_t>(weights.layout().blocks().size());
  return combine_hashes(
      block_hashes(weights.layout(), weights.flat(), 0, blocks));
}

// A run in its folder, from the weights that it starts with to its last step.
class Run {
 public:
  // Collective.
  Run(Communicator& world, const TrainInputs& inputs)
      : world_(world),
        inputs_(inputs),
        config_(inputs.config),
        trainer_(ctx_, world, config_.model, config_.train, config_.parallel,
                 config_.optimizer.adamw),
        writer_(ctx_, world, config_, trainer_) {
    prepare_together(world, [&] { start(); });
    // Made on every rank: another processor or library may round differently,
    // another host see other files.
    require_same_on_all_ranks(world, "number of steps done", steps_done_);
    require_same_on_all_ranks(world, "initial weights",
                              hash_of(trainer_.model().weights()));
    digest_ = hash_of(trainer_.model().weights());
  }

  void train() {
    const bool speaks = world_.rank() == 0;
    const int64_t steps = config_.optimizer.steps;
    if (steps_done_ >= steps) {
      if (speaks) {
        std::printf("finished: %" PRId64 " steps done\n", steps_done_);
      }
      return;
    }
    Progress progress(config_, peak_of_all_ranks(), steps_done_, speaks);
    progress.banner(trainer_.model().weights().layout());
    std::optional<Metrics> metrics;
    if (speaks && saves()) metrics.emplace(config_.run_dir, steps_done_);
    if (steps_done_ > 0) {
      progress.say("resumed after step " + std::to_string(steps_done_));
    }

    for (int64_t step = steps_done_; step < steps; ++step) {
      const double lr = learning_rate(config_.optimizer, step);
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
      save_if_due(step + 1);
      if (evaluates(step + 1)) {
        progress.say("step " + std::to_string(step + 1) + ": held-out loss " +
                     std::to_string(held_out_loss()));
        progress.leave_out();
      }
    }
    progress.finish();
    report();
  }

 private:
  bool saves() const { return !config_.run_dir.empty(); }

  // Weights and counters of the newest checkpoint, of init_from, or new ones.
  void start() {
    ParameterStore& weights = trainer_.model().weights();
    const auto say = [&](const std::string& line) {
      if (world_.rank() == 0) {
        std::fprintf(stderr, "timepipe: %s\n", line.c_str());
      }
    };
    if (saves() && !list_checkpoints(config_.run_dir).empty()) {
      const CheckpointReader checkpoint = open_checkpoint(config_.run_dir, say);
      const Manifest& manifest = checkpoint.manifest();
      const std::string difference = first_difference(
          config_, config_from_text(manifest.configuration,
                                    checkpoint.folder() + "/manifest.json"));
      require(difference.empty(), difference + " (as " + checkpoint.folder() +
                                      "; another run needs another run_dir)");
      restore(checkpoint, trainer_);
      steps_done_ = manifest.steps;
      skipped_ = manifest.skipped_steps;
      return;
    }
    if (saves() && world_.rank() == 0) {
      write_file(config_.run_dir + "/config.textproto", to_text(config_));
    }
    initialise(config_.model, config_.train.seed, weights);
    if (config_.init_from.empty()) return;
    if (is_hf_folder(config_.init_from)) {
      require_model(read_hf_config(config_.init_from).model);
      return read_hf_weights(config_.init_from, weights);
    }
    const CheckpointReader checkpoint = open_checkpoint(config_.init_from, say);
    require_same_parameters(checkpoint.folder(),
                            checkpoint.manifest().parameters,
                            weights.layout().parameters());
    require_model(config_from_text(checkpoint.manifest().configuration,
                                   checkpoint.folder() + "/manifest.json")
                      .model);
    restore_weights(checkpoint, weights);
  }

  // That of init_from must be this run's, but for how weights start.
  void require_model(ModelConfig model) const {
    model.initializer_range = config_.model.initializer_range;
    model.conv_init = config_.model.conv_init;
    RunConfig other = config_;
    other.model = model;
    const std::string difference = first_difference(config_, other);
    require(difference.empty(), difference + " (init_from " +
                                    config_.init_from + ": another model)");
  }

  bool evaluates(int64_t steps_done) const {
    return config_.eval.every > 0 && steps_done % config_.eval.every == 0;
  }

  // The mean over the first held-out sequences, whatever the step. Collective.
  double held_out_loss() {
    Batch batch;
    const int64_t count = config_.eval.sequences;
    for (int64_t i = 0; i < count; ++i) {
      batch.push_back(inputs_.data.held_out(i));
      batch.back().loss_scale /= static_cast<double>(count);
    }
    const int64_t sent = trainer_.grid().time->bytes_sent();
    const double loss = trainer_.evaluate(batch);
    sent_to_evaluate_ += trainer_.grid().time->bytes_sent() - sent;
    return loss;
  }

  double peak_of_all_ranks() {
    const auto all = gather_values(world_, measure_peak_flops());
    return std::accumulate(all.begin(), all.end(), 0.0);
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

  void save_if_due(int64_t steps_done) {
    if (!saves()) return;
    const int64_t every = config_.checkpoint.every;
    const bool last = steps_done == config_.optimizer.steps;
    auto outcome = CheckpointWriter::Outcome::kNothing;
    if (last || (every > 0 && steps_done % every == 0)) {
      outcome = writer_.save(steps_done, skipped_, digest_);
    }
    outcome = std::max(outcome, writer_.settle(/*wait=*/last));
    const bool failed = outcome == CheckpointWriter::Outcome::kFailed;
    require(
        !failed || (!last && config_.checkpoint.on_failure == OnFailure::kGoOn),
        "a checkpoint could not be saved to " + config_.run_dir +
            (last ? ": the last step isn't saved"
                  : ": the run stops as checkpoint.on_failure says"));
  }

  // Collective.
  void report() {
    if (world_.rank() == 0) {
      std::printf("final digest %016" PRIx64 "\n", digest_);
    }
    report_ranks(
        world_, config_, config_.optimizer.steps - steps_done_,
        {.sent_bytes = trainer_.grid().time->bytes_sent() - sent_to_evaluate_,
         .activation_bytes = ctx_.pool().peak_bytes(MemoryUse::kActivations)});
  }

  Communicator& world_;
  const TrainInputs& inputs_;
  const RunConfig& config_;
  Context ctx_;
  Trainer trainer_;
  CheckpointWriter writer_;
  int64_t steps_done_ = 0;        // when the run was started or resumed
  int64_t sent_to_evaluate_ = 0;  // bytes
  int64_t skipped_ = 0, skipped_in_a_row_ = 0;
  uint64_t digest_ = 0;
};

void train(Communicator& world, const std::string& path,
           const std::vector<std::string>& overrides) {
  std::optional<TrainInputs> inputs;
  prepare_together(world,
                   [&] { inputs.emplace(path, overrides, world.size()); });
  require_same_on_all_ranks(world, "configuration",
                            std::hash<std::string>()(to_text(inputs->config)));
  require_same_on_all_ranks(world, "file data.train", inputs->data.hash());
  world.set_timeout(inputs->config.parallel.timeout_seconds);
  Run(world, *inputs).train();
}

}  // namespace

int cmd_train(int* argc, char*** argv, const std::string& config,
              const std::vector<std::string>& overrides) {
  return run_job(argc, argv,
                 [&](Communicator& world) { train(world, config, overrides); });
}

}  // namespace timepipe
