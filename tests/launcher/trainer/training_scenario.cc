#include "tests/launcher/trainer/training_scenario.h"

#include <bit>
#include <numeric>

#include "launcher/trainer/rates.h"
#include "models/build.h"
#include "runtime/rng.h"
#include "tests/support/sequences.h"
#include "tests/support/test_device.h"

namespace timepipe::testing {
namespace {

constexpr int64_t kVocab = 64;

Sequence packed_sequence(int64_t tokens, int64_t mini_batch, double loss_scale,
                         const Rng& rng) {
  Sequence sequence;
  sequence.ids.assign(tokens, 0);
  sequence.targets.assign(tokens, kIgnoredTarget);
  sequence.loss_scale = loss_scale;
  uint64_t n = 0;
  for (int64_t first = 0; first < tokens;) {
    const auto wanted = static_cast<int64_t>(1 + rng.bits(n++) % 60);
    const int64_t length = std::min(wanted, tokens - first);
    const bool resets = first == 0 || rng.bits(n++) % 3 != 0;
    sequence.documents.push_back({first, length, resets});
    for (int64_t t = first; t < first + length; ++t) {
      sequence.ids[t] = static_cast<int64_t>(rng.bits(n++) % kVocab);
      sequence.targets[t] = static_cast<int64_t>(rng.bits(n++) % kVocab);
    }
    first += num_chunks(length, mini_batch) * mini_batch;
  }
  return sequence;
}

Scenario scenario(InnerModel inner, bool mamba) {
  Scenario s;
  s.model.vocab_size = kVocab;
  s.model.hidden_size = 32;
  s.model.intermediate_size = 48;
  s.model.num_layers = 2;
  s.model.num_heads = 2;
  s.model.mini_batch_size = 8;
  s.model.inner = inner;
  s.model.use_gate = s.model.share_qk = s.model.pre_conv = mamba;
  s.model.tie_word_embeddings = mamba;
  s.optimizer.lr = 3e-3;
  s.optimizer.steps = s.steps = 20;
  s.optimizer.warmup_steps = 2;
  s.chunk_tokens = 32;
  return s;
}

}  // namespace

Scenario linear_mamba() { return scenario(InnerModel::kLinear, true); }
Scenario carried() {
  Scenario s = linear_mamba();
  s.carries = true;
  return s;
}
Scenario mlp_transformer() { return scenario(InnerModel::kMlp, false); }

Scenario side_by_side() {
  Scenario s = linear_mamba();
  s.lengths = {304, 168, 200, 200, 64};
  s.micro_batch = 2;
  return s;
}

Scenario carried_side_by_side() {
  Scenario s = carried();
  s.lengths = {304, 304, 168, 168, 200};
  s.micro_batch = 2;
  return s;
}

Scenario in_bf16() {
  Scenario s = carried_side_by_side();
  s.dtype = DType::kBF16;
  s.steps = 8;  // the sequences end after five
  return s;
}

Scenario mlp_in_bf16() {
  Scenario s = mlp_transformer();
  s.dtype = DType::kBF16;
  s.steps = 6;
  return s;
}

Scenario wide() {
  Scenario s = scenario(InnerModel::kLinear, true);
  s.model.hidden_size = 256;
  s.model.intermediate_size = 384;
  s.model.num_heads = 4;
  s.chunk_tokens = 256;
  s.steps = 3;
  return s;
}

Scenario scenario_named(const std::string& name) {
  if (name == "linear_mamba") return linear_mamba();
  if (name == "mlp_transformer") return mlp_transformer();
  if (name == "carried") return carried();
  if (name == "side_by_side") return side_by_side();
  if (name == "carried_side_by_side") return carried_side_by_side();
  if (name == "in_bf16") return in_bf16();
  if (name == "mlp_in_bf16") return mlp_in_bf16();
  if (name == "wide") return wide();
  throw InvalidArgument("scenario: " + name);
}

Batch scenario_batch(const Scenario& scenario, int64_t step) {
  const auto all = std::accumulate(scenario.lengths.begin(),
                                   scenario.lengths.end(), int64_t{0});
  const ModelConfig& model = scenario.model;
  const int64_t steps = scenario.carries ? 5 : 1, place = step % steps;
  Batch batch;
  for (const int64_t length : scenario.lengths) {
    const auto seed =
        static_cast<uint64_t>(7 + step / steps + 1000 * batch.size());
    const Sequence whole =
        packed_sequence(steps * length, model.mini_batch_size,
                        1.0 / static_cast<double>(all), Rng(seed, length));
    if (!scenario.carries) {
      batch.push_back(whole);
      continue;
    }
    batch.push_back(piece_of(whole, place * length, (place + 1) * length,
                             model.halo_rows()));
    batch.back().hands_on &= place + 1 < steps;
  }
  return batch;
}

void remove_labels(Batch& batch) {
  for (Sequence& sequence : batch) {
    sequence.targets.assign(sequence.targets.size(), kIgnoredTarget);
    sequence.loss_scale = 0;
  }
}

Trainer make_trainer(const Scenario& scenario, const Layout& layout,
                     Context& ctx, Communicator& world) {
  TrainConfig train;
  train.chunk_tokens = scenario.chunk_tokens;
  train.micro_batch = scenario.micro_batch;
  train.dtype = scenario.dtype;
  train.hot_rounds = layout.hot_rounds;
  ParallelConfig parallel;
  parallel.time = layout.time;
  parallel.data = layout.data;
  return Trainer(ctx, world, scenario.model, train, parallel,
                 scenario.optimizer.adamw);
}

Trainer::StepResult run_step(Trainer& trainer, const Scenario& scenario,
                             int64_t step) {
  return trainer.step(scenario_batch(scenario, step),
                      learning_rate(scenario.optimizer, step), 1.0, step);
}

std::vector<uint64_t> run_scenario(const Scenario& scenario,
                                   const Layout& layout, Communicator& world) {
  TestContext ctx;
  Trainer trainer = make_trainer(scenario, layout, ctx, world);
  initialise(ctx, scenario.model, 1, trainer.model().weights());
  std::vector<uint64_t> digests, losses;
  for (int64_t step = 0; step < scenario.steps; ++step) {
    const Trainer::StepResult result = run_step(trainer, scenario, step);
    digests.push_back(result.digest);
    losses.push_back(std::bit_cast<uint64_t>(result.loss));
  }
  digests.insert(digests.end(), losses.begin(), losses.end());
  return digests;
}

}  // namespace timepipe::testing
