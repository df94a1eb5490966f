#include <algorithm>

#include "tests/golden_check/golden.h"

namespace timepipe::golden {
namespace {

// The case's targets: labels moved one to the left, nothing after the last.
HostArray targets_of(const Case& golden) {
  if (!golden.has("labels")) return golden.array("targets");
  const HostArray labels = golden.array("labels");
  HostArray targets(labels.shape(), DType::kI64);
  const auto from = labels.values<int64_t>();
  const auto to = targets.values<int64_t>();
  const int64_t L = labels.shape().back();
  for (int64_t i = 0; i < labels.numel(); ++i) {
    to[i] = (i + 1) % L == 0 ? kIgnoredTarget : from[i + 1];
  }
  return targets;
}

// Copies of the case's sequences, cut to `tokens`; the loss is the mean over
// all labels.
Batch make_batch(const Case& golden, int64_t tokens, int64_t copies) {
  const HostArray targets = targets_of(golden);
  const HostArray ids = golden.array("input_ids", targets.shape());
  const int64_t B = ids.shape().at(0), L = ids.shape().at(1);
  const int64_t labels =
      B * L - std::ranges::count(targets.values<int64_t>(), kIgnoredTarget);
  Batch batch;
  for (int64_t b = 0; b < B; ++b) {
    const auto id = ids.values<int64_t>().subspan(b * L, tokens);
    const auto target = targets.values<int64_t>().subspan(b * L, tokens);
    batch.push_back({.ids = {id.begin(), id.end()},
                     .targets = {target.begin(), target.end()},
                     .documents = {{0, tokens, true}},
                     .loss_scale = 1.0 / static_cast<double>(copies * labels)});
  }
  return repeated(batch, copies);
}

void compare_states(const std::string& prefix, const ModelConfig& config,
                    const Pieces& pieces, const Options& options,
                    const Case& golden, Communicator& world, int64_t batch,
                    Report& report) {
  const TttShape shape = config.ttt_shape();
  const int64_t copies = options.micro_batch, sequences = copies * batch;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const std::string layer = std::to_string(l) + ".";
    if (!golden.has(prefix + layer + "W1")) continue;
    const Values states = pieces.merged(world, "state." + std::to_string(l),
                                        sequences * shape.state_size());
    for (const auto& [name, values] : split_state(shape, states, sequences)) {
      report.compare_copies(prefix + layer + name, values,
                            golden.values(prefix + layer + name), copies,
                            value_tolerance(options.dtype, 1e-5, 0));
    }
  }
}

// The loss is the mean over copies: each has its part of the gradient.
void compare_activations(const Pieces& pieces, const Options& options,
                         const Case& golden, Communicator& world,
                         Report& report) {
  const int64_t copies = options.micro_batch;
  for (const std::string& name : golden.tensors.names()) {
    const bool gradient = name.starts_with("dhidden.");
    if (!gradient && !name.starts_with("hidden.")) continue;
    const Values expected = golden.values(name);
    const Values got = pieces.merged(world, name, copies * expected.size());
    report.compare_copies(
        name, gradient ? scaled(got, static_cast<double>(copies)) : got,
        expected, copies,
        gradient ? gradient_tolerance(options.dtype, name, 0)
                 : value_tolerance(options.dtype, 1e-5, 0));
  }
  const Values logits = golden.values("logits");
  const double reference = golden.note({"f32_vs_f64", "logits_max_abs"}, 0);
  report.compare_copies(
      "logits", pieces.merged(world, "logits", copies * logits.size()), logits,
      copies,
      options.dtype == DType::kF64 ? relative(1e-9)
                                   : absolute(std::max(2e-5, 10 * reference)));
}

}  // namespace

void check_model(const Options& options, const Case& golden,
                 Communicator& world, Report& report) {
  const ModelConfig config =
      read_model_config(options.directory + "/config.json");
  const Shape shape = golden.array("input_ids").shape();
  const int64_t B = shape.at(0), L = shape.at(1);
  const auto [train, parallel] = layout_of(options, config, L, world, report);

  Context ctx(options.device);
  Trainer trainer(ctx, world, config, train, parallel, {});
  load_weights(ctx, options.directory + "/weights.safetensors",
               trainer.model().weights());
  const int64_t copies = options.micro_batch;
  Pieces pieces(copies * B, L);
  trainer.model().set_observer(record(ctx, pieces, trainer.grid()));
  const double loss = trainer.forward_backward(make_batch(golden, L, copies));

  const bool f64 = options.dtype == DType::kF64;
  const double loss_reference = golden.note({"f32_vs_f64", "loss_abs"}, 0);
  report.compare(
      "loss", {loss}, golden.values("loss"),
      f64 ? relative(1e-9) : absolute(std::max(3e-6, 10 * loss_reference)));
  compare_activations(pieces, options, golden, world, report);
  if (golden.has("targets")) {
    report.compare("targets", to_values(targets_of(golden)),
                   golden.values("targets"), absolute(0.5));
  }
  compare_states("state.", config, pieces, options, golden, world, B, report);

  trainer.optimizer().reduce(
      trainer.gradients(), from_values(ctx, DType::kF64, "loss", {loss}, {1}));
  const Values gradient = to_values(ctx, trainer.optimizer().gather_gradient());
  for (const Parameter& p : trainer.model().weights().layout().parameters()) {
    const double reference =
        golden.note({"f32_vs_f64", "grad_rel_l2", p.name}, 0);
    report.compare("grad." + p.name, values_of(p, gradient),
                   golden.values("grad." + p.name),
                   gradient_tolerance(options.dtype, p.name, reference));
  }

  const int64_t full = L / config.mini_batch_size * config.mini_batch_size;
  if (full > 0 && full < L) {  // the layers are causal: run what comes before
    Pieces states(copies * B, full);
    trainer.model().set_observer(record(ctx, states, trainer.grid()));
    trainer.forward_backward(make_batch(golden, full, copies));
    compare_states("state_full.", config, states, options, golden, world, B,
                   report);
  }
}

}  // namespace timepipe::golden
