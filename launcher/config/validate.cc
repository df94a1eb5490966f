// What fields of a configuration may be, alone and together.

#include <cmath>
#include <limits>

#include "launcher/config/config.h"
#include "runtime/expect.h"
#include "runtime/number_text.h"

namespace timepipe {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 40;
constexpr int64_t kMostRanks = 1 << 20;
constexpr int64_t kMostSteps = int64_t{1} << 40;

void expect_range(const char* name, int64_t value, int64_t low, int64_t high) {
  expect(value >= low && value <= high, name, value,
         std::to_string(low) + " to " + std::to_string(high));
}

void expect_not_negative(const char* name, double value) {
  expect(value >= 0 && std::isfinite(value), name, value,
         "a number of at least 0");
}

void expect_positive(const char* name, double value) {
  expect(value > 0 && std::isfinite(value), name, value, "a positive number");
}

void expect_decay(const char* name, double value) {
  expect(value >= 0 && value < 1, name, value, "a number from 0 to below 1");
}

void validate_model(const ModelConfig& model) {
  try {
    validate(model);
  } catch (const InvalidArgument& error) {
    throw InvalidArgument(std::string("model.") + error.what());
  }
}

void validate_schedule(const OptimizerConfig& o) {
  expect_range("optimizer.steps", o.steps, 1, kMostSteps);
  expect_positive("optimizer.lr", o.lr);
  expect_not_negative("optimizer.init_lr", o.init_lr);
  expect_not_negative("optimizer.end_lr", o.end_lr);
  expect(
      o.warmup_steps >= 0 && o.warmup_steps < o.steps, "optimizer.warmup_steps",
      o.warmup_steps,
      "at least 0 and less than optimizer.steps = " + std::to_string(o.steps));
  expect(o.init_lr == 0 || o.warmup_steps > 0, "optimizer.init_lr", o.init_lr,
         "0 without optimizer.warmup_steps");
  if (o.schedule == RateSchedule::kConstant) {
    const double unset = OptimizerConfig().end_lr;
    expect(o.end_lr == unset || o.end_lr == o.lr, "optimizer.end_lr", o.end_lr,
           "optimizer.lr = " + significant(o.lr, 6) +
               " or unset with optimizer.schedule = constant");
  } else {
    expect(o.end_lr <= o.lr, "optimizer.end_lr", o.end_lr,
           "at most optimizer.lr = " + significant(o.lr, 6));
  }
  if (o.schedule == RateSchedule::kWarmupStableDecay) {
    const int64_t most = o.steps - o.warmup_steps;
    expect(o.decay_steps >= 1 && o.decay_steps <= most, "optimizer.decay_steps",
           o.decay_steps,
           "1 to optimizer.steps - optimizer.warmup_steps = " +
               std::to_string(most) +
               " with optimizer.schedule = warmup_stable_decay");
  } else {
    expect(o.decay_steps == 0, "optimizer.decay_steps", o.decay_steps,
           "0 without optimizer.schedule = warmup_stable_decay");
  }
}

void validate_optimizer(const OptimizerConfig& o, double ttt_base_lr) {
  validate_schedule(o);
  expect_decay("optimizer.beta1", o.adamw.beta1);
  expect_decay("optimizer.beta2", o.adamw.beta2);
  expect_positive("optimizer.eps", o.adamw.eps);
  expect_not_negative("optimizer.weight_decay", o.adamw.weight_decay);
  expect_not_negative("optimizer.clip_norm", o.adamw.clip_norm);
  expect_range("optimizer.max_skipped_steps", o.max_skipped_steps, 1,
               kMostSteps);
  expect_range("optimizer.inner_lr_warmup_steps", o.inner_lr_warmup_steps, 0,
               kMostSteps);
  if (o.inner_lr_warmup_steps > 0) {
    expect(o.inner_lr_init > 0 && o.inner_lr_init <= ttt_base_lr,
           "optimizer.inner_lr_init", o.inner_lr_init,
           "more than 0 and at most model.ttt_base_lr with "
           "optimizer.inner_lr_warmup_steps");
  } else {
    expect(o.inner_lr_init == 0, "optimizer.inner_lr_init", o.inner_lr_init,
           "0 without optimizer.inner_lr_warmup_steps");
  }
}

void validate_data(const RunConfig& config) {
  const DataConfig& d = config.data;
  expect(d.train_weights.empty() || d.train_weights.size() == d.train.size(),
         "data.train_weights",
         std::to_string(d.train_weights.size()) + " value(s)",
         "one for each of the " + std::to_string(d.train.size()) +
             " file(s) of data.train, or none");
  for (const double weight : d.train_weights) {
    expect_positive("data.train_weights", weight);
  }
  expect(d.held_out >= 0 && d.held_out < 1, "data.held_out", d.held_out,
         "a number from 0 to below 1");
  expect(!d.tokenizer.empty(), "data.tokenizer", "\"\"",
         "bytes or the path of a sentencepiece model");
  expect_range("data.bos_id", d.bos_id, -1, config.model.vocab_size - 1);
  expect(d.loss != Loss::kJax || d.bos_id >= 0, "data.bos_id", d.bos_id,
         "a token with data.loss = jax (1 for Llama 2)");
}

void validate_carry_state(const RunConfig& config) {
  const DataConfig& d = config.data;
  if (!d.carry_state) {
    expect(d.start_state.empty(), "data.start_state", d.start_state,
           "none without data.carry_state");
    return;
  }
  const int64_t mini_batch = config.model.mini_batch_size;
  const int64_t halo = config.model.halo_rows();
  expect(d.sequence_length % mini_batch == 0, "data.sequence_length",
         d.sequence_length,
         "a multiple of model.mini_batch_size = " + std::to_string(mini_batch) +
             " with data.carry_state");
  expect(mini_batch >= halo, "model.mini_batch_size", mini_batch,
         "at least model.conv_kernel - 1 = " + std::to_string(halo) +
             " with data.carry_state");
  expect(d.train_weights.empty(), "data.train_weights",
         std::to_string(d.train_weights.size()) + " value(s)",
         "none with data.carry_state: files are read in their order");
  expect(d.seed == 0, "data.seed", d.seed,
         "0 with data.carry_state: files are read in their order");
}

void validate_checkpoint(const RunConfig& config) {
  const CheckpointConfig& c = config.checkpoint;
  expect_range("checkpoint.every", c.every, 0, kMostSteps);
  expect_range("checkpoint.keep_last", c.keep_last, 0, kMostSteps);
  expect_range("checkpoint.keep_best", c.keep_best, 0, kMostSteps);
  expect_range("checkpoint.milestone_every", c.milestone_every, 0, kMostSteps);
  expect(c.every == 0 || !config.run_dir.empty(), "checkpoint.every", c.every,
         "0 without run_dir: there is no folder to save to");
  expect(c.milestone_every == 0 ||
             (c.every > 0 && c.milestone_every % c.every == 0),
         "checkpoint.milestone_every", c.milestone_every,
         "a multiple of checkpoint.every = " + std::to_string(c.every));
  expect(c.keep_best == 0 || (config.eval.every > 0 && !config.run_dir.empty()),
         "checkpoint.keep_best", c.keep_best,
         "0 without eval.every and run_dir: no checkpoint has a held-out loss");
  expect_range("eval.every", config.eval.every, 0, kMostSteps);
  expect_range("eval.sequences", config.eval.sequences, 1, kMostRanks);
  expect(config.eval.every == 0 || config.data.held_out > 0 ||
             !config.eval.data.empty(),
         "eval.every", config.eval.every,
         "0 without data.held_out or eval.data: there is no held-out text");
}

void validate_chunks(const RunConfig& config) {
  const int64_t mini_batch = config.model.mini_batch_size;
  const int64_t tokens = config.train.chunk_tokens;
  expect_range("train.chunk_tokens", tokens, 1, kMostTokens);
  expect(tokens % mini_batch == 0, "train.chunk_tokens", tokens,
         "a multiple of model.mini_batch_size = " + std::to_string(mini_batch));
  expect(tokens >= config.model.halo_rows(), "train.chunk_tokens", tokens,
         "at least model.conv_kernel - 1 = " +
             std::to_string(config.model.halo_rows()));
  const int64_t most = std::numeric_limits<int32_t>::max();
  expect_range("train.hot_rounds", config.train.hot_rounds, 0, most);
  expect_range("train.detach_every_chunks", config.train.detach_every_chunks, 0,
               most);
}

// Every rank has a chunk: a rank without one would only cost.
void validate_ranks(const RunConfig& config) {
  const ParallelConfig& p = config.parallel;
  expect_range("parallel.time", p.time, 1, kMostRanks);
  expect_range("parallel.data", p.data, 1, kMostRanks);
  const int64_t micro_batches = config.num_micro_batches();
  expect(p.data <= micro_batches, "parallel.data", p.data,
         "at most " + std::to_string(micro_batches) +
             ", data.batch in micro-batches of data.micro_batch = " +
             std::to_string(config.train.micro_batch) +
             ": data ranks take whole ones");
  const int64_t chunks = config.num_chunks() * (micro_batches / p.data);
  expect(p.time <= chunks, "parallel.time", p.time,
         "at most " + std::to_string(chunks) +
             ", the chunks that a group of time ranks has in a step");
  expect_positive("parallel.timeout_seconds", p.timeout_seconds);
}

// Lists count chunks in 32 bits, and sums of gradients (GradientSum) have room
// for so many.
void validate_room(const RunConfig& config) {
  const int64_t chunks = config.num_chunks();
  const char* const tokens = "train.chunk_tokens";
  expect(chunks <= std::numeric_limits<int32_t>::max(), tokens,
         config.train.chunk_tokens, "at most 2^31 - 1 chunks in a sequence");
  // Tied embeddings take a chunk's gradient twice.
  const int64_t most_chunks =
      (wide(config.train.dtype) == DType::kF32 ? int64_t{1} << 39 : 1 << 15) /
      (config.model.tie_word_embeddings ? 2 : 1);
  expect(config.num_micro_batches() <= most_chunks / chunks, tokens,
         config.train.chunk_tokens,
         "so many that a step has at most " + std::to_string(most_chunks) +
             " chunks in all its micro-batches");
}

}  // namespace

void validate(const RunConfig& config) {
  validate_model(config.model);
  expect_range("data.sequence_length", config.data.sequence_length, 2,
               kMostTokens);
  expect_range("data.batch", config.data.batch, 1, kMostRanks);
  const int64_t size = config.train.micro_batch, batch = config.data.batch;
  expect(1 <= size && size <= batch, "data.micro_batch", size,
         "1 to " + std::to_string(batch) + ", which is data.batch");
  validate_optimizer(config.optimizer, config.model.ttt_base_lr);
  validate_chunks(config);
  validate_data(config);
  validate_carry_state(config);
  validate_ranks(config);
  validate_room(config);
  validate_checkpoint(config);
  expect(!config.init_optimizer || !config.init_from.empty(), "init_optimizer",
         "true", "false without init_from: there are no moments to start from");
  // Any build reads a configuration of any device, of a checkpoint for
  // instance.
  expect(device_named(config.device).has_value(), "device", config.device,
         "cpu, cuda or cuda:N");
}

}  // namespace timepipe
