#include <chrono>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "launcher/commands.h"
#include "launcher/job.h"
#include "launcher/trainer.h"
#include "models/build.h"
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
            "data.train: expected the path of one text file");
    const std::string& file = config.data.train.front();
    tokens = std::make_unique<TokenReader>(file);
    require(tokens->num_tokens() > config.data.sequence_length,
            "data.train: " + file + ": " +
                std::to_string(tokens->num_tokens()) +
                " tokens, expected more than data.sequence_length = " +
                std::to_string(config.data.sequence_length));
    order = std::make_unique<WindowOrder>(
        tokens->num_tokens(), config.data.sequence_length, config.data.seed);
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

void print_banner(const RunConfig& config, const ParameterStore& weights) {
  int64_t parameters = 0;
  for (const Parameter& p : weights.layout().parameters()) {
    parameters += p.count;
  }
  std::printf("model: %" PRId64 " parameters, %" PRId64
              " layers of width %" PRId64 ", %" PRId64
              " heads\n"
              "step: %" PRId64 " sequence(s) of %" PRId64 " tokens in %" PRId64
              " chunk(s) of %" PRId64 ", over %" PRId64 " time x %" PRId64
              " data rank(s)\n",
              parameters, config.model.num_layers, config.model.hidden_size,
              config.model.num_heads, config.data.batch,
              config.data.sequence_length, config.num_chunks(),
              config.train.chunk_tokens, config.parallel.time,
              config.parallel.data);
}

void print_step(const RunConfig& config, int64_t step,
                const Trainer::StepResult& result, double seconds) {
  const double tokens =
      static_cast<double>(config.data.batch * config.data.sequence_length);
  std::printf("step %" PRId64 "/%" PRId64
              "  loss %.6f  bits/byte %.4f  grad norm %.4f  tokens/s %.0f"
              "  digest %016" PRIx64 "%s\n",
              step + 1, config.optimizer.steps, result.loss,
              result.loss / std::log(2.0), result.grad_norm, tokens / seconds,
              result.digest, result.finite ? "" : "  NOT FINITE: step skipped");
  std::fflush(stdout);
}

void train(Communicator& world, const std::string& path,
           const std::vector<std::string>& overrides) {
  std::optional<TrainInputs> inputs;
  prepare_together(world,
                   [&] { inputs.emplace(path, overrides, world.size()); });
  const RunConfig& config = inputs->config;
  require_same_on_all_ranks(world, "configuration",
                            std::hash<std::string>()(to_text(config)));
  require_same_on_all_ranks(world, "file data.train", inputs->tokens->hash());
  world.set_timeout(config.parallel.timeout_seconds);
  Context ctx;
  Trainer trainer(ctx, world, config.model, config.train, config.parallel,
                  config.optimizer.adamw);
  initialise(config.model, config.train.seed, trainer.model().weights());
  // Made on every rank: another processor or library may round differently.
  require_same_on_all_ranks(world, "initial weights",
                            hash_of(trainer.model().weights()));
  const bool speaks = world.rank() == 0;
  if (speaks) print_banner(config, trainer.model().weights());

  Trainer::StepResult result{};
  for (int64_t step = 0; step < config.optimizer.steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    result = trainer.step(
        inputs->batch(step), learning_rate(config.optimizer, step),
        inner_rate_multiplier(config.optimizer, config.model.ttt_base_lr, step),
        step);
    const std::chrono::duration<double> seconds =
        std::chrono::steady_clock::now() - start;
    if (speaks) print_step(config, step, result, seconds.count());
  }
  if (speaks) {
    std::printf("final digest %016" PRIx64 "\n", result.digest);
    std::printf(
        "rank 0: %.1f MiB of activations at most, %.1f MiB sent per "
        "step between time ranks\n",
        static_cast<double>(ctx.pool().peak_bytes(MemoryUse::kActivations)) /
            (1 << 20),
        static_cast<double>(trainer.grid().time->bytes_sent()) /
            static_cast<double>(config.optimizer.steps) / (1 << 20));
  }
}

}  // namespace

int cmd_train(int* argc, char*** argv, const std::string& config,
              const std::vector<std::string>& overrides) {
  return run_job(argc, argv,
                 [&](Communicator& world) { train(world, config, overrides); });
}

}  // namespace timepipe
