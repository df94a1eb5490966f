#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "launcher/checkpoint.h"
#include "launcher/commands.h"
#include "launcher/job.h"
#include "launcher/metrics.h"
#include "launcher/progress.h"
#include "launcher/trainer.h"
#include "models/build.h"
#include "runtime/files.h"
#include "runtime/token_reader.h"

namespace timepipe {
namespace {

// What train needs before the first message between ranks.
struct TrainInputs {
  RunConfig config;
  std::unique_ptr<TokenReader> tokens;
  std::unique_ptr<WindowOrder> order;

  TrainInputs(const std::string& path,
              const std::vector<std::string>& overrides, int ranks)
      : config(load_config(path, overrides)) {
    const int64_t wanted = config.parallel.time * config.parallel.data;
    require(wanted == ranks, "parallel.time x parallel.data: " +
                                 std::to_string(config.parallel.time) + " x " +
                                 std::to_string(config.parallel.data) + " = " +
                                 std::to_string(wanted) +
                                 " ranks, but this job has " +
                                 std::to_string(ranks) + " (mpirun -n " +
                                 std::to_string(wanted) + ")");
    require(config.model.vocab_size >= 256,
            "model.vocab_size: " + std::to_string(config.model.vocab_size) +
                ", expected at least 256: tokens are bytes");
    require(config.data.train.size() == 1,
            "data.train: not set, expected the path of a text file");
    const std::string& file = config.data.train.front();
    tokens = std::make_unique<TokenReader>(file);
    require(tokens->num_tokens() > config.data.sequence_length,
            "data.train: " + file + ": " +
                std::to_string(tokens->num_tokens()) +
                " tokens, expected more than data.sequence_length = " +
                std::to_string(config.data.sequence_length));
    order = std::make_unique<WindowOrder>(
        tokens->num_tokens(), config.data.sequence_length, config.data.seed);
    if (config.run_dir.empty()) return;
    std::filesystem::create_directories(config.run_dir + "/checkpoints");
  }

  // The sequences of a step; its loss is the mean over all their labels.
  Batch batch(int64_t step) const {
    const int64_t length = config.data.sequence_length;
    const int64_t count = config.data.batch;
    const double scale = 1.0 / static_cast<double>(length * count);
    Batch batch;
    std::vector<int64_t> ids(length + 1);
    for (int64_t s = 0; s < count; ++s) {
      tokens->read(order->first_token(step * count + s), ids);
      batch.push_back(make_sequence(ids, scale));
    }
    return batch;
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
      if (speaks)
        std::printf("finished: %" PRId64 " steps done\n", steps_done_);
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
          trainer_.step(inputs_.batch(step), lr,
                        inner_rate_multiplier(config_.optimizer,
                                              config_.model.ttt_base_lr, step),
                        step);
      const StepTime time = progress.step_time();
      progress.step(step, result, time);
      if (metrics) metrics->write(step, result, lr, time);
      digest_ = result.digest;
      count_skipped(result.finite);
      save_if_due(step + 1);
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
      if (world_.rank() == 0)
        std::fprintf(stderr, "timepipe: %s\n", line.c_str());
    };
    if (saves() && !list_checkpoints(config_.run_dir).empty()) {
      const CheckpointReader checkpoint = open_checkpoint(config_.run_dir, say);
      const Manifest& manifest = checkpoint.manifest();
      const std::string difference = first_difference(
          config_, config_from_text(manifest.configuration,
                                    checkpoint.folder() + "/manifest.json"));
      require(difference.empty(), difference + " (" + checkpoint.folder() +
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
    restore_weights(open_checkpoint(config_.init_from, say), weights);
  }

  double peak_of_all_ranks() {
    const double own = measure_peak_flops(ctx_);
    std::vector<double> all(static_cast<std::size_t>(world_.size()));
    const std::vector<int64_t> bytes(all.size(), sizeof(double));
    world_
        .all_gather(std::as_bytes(std::span(&own, 1)), bytes,
                    std::as_writable_bytes(std::span(all)))
        .wait();
    double sum = 0;
    for (const double flops : all) sum += flops;
    return sum;
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

  void report() {
    if (world_.rank() != 0) return;
    std::printf("final digest %016" PRIx64 "\n", digest_);
    std::printf(
        "rank 0: %.1f MiB of activations at most, %.1f MiB sent per step "
        "between time ranks\n",
        static_cast<double>(ctx_.pool().peak_bytes(MemoryUse::kActivations)) /
            (1 << 20),
        static_cast<double>(trainer_.grid().time->bytes_sent()) /
            static_cast<double>(config_.optimizer.steps - steps_done_) /
            (1 << 20));
  }

  Communicator& world_;
  const TrainInputs& inputs_;
  const RunConfig& config_;
  Context ctx_;
  Trainer trainer_;
  CheckpointWriter writer_;
  int64_t steps_done_ = 0;  // when the run was started or resumed
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
  require_same_on_all_ranks(world, "file data.train", inputs->tokens->hash());
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
