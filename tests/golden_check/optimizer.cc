#include <cmath>

#include "launcher/trainer/rates.h"
#include "tests/golden_check/golden.h"

namespace timepipe::golden {
namespace {

constexpr int64_t kBos = 1;

OptimizerConfig read_optimizer(const Case& golden, int64_t steps) {
  const auto note = [&](const char* name) {
    const double value = golden.note({"optimizer", name}, NAN);
    require(!std::isnan(value),
            std::string("notes.json: optimizer.") + name + " is missing");
    return value;
  };
  OptimizerConfig c;
  c.lr = note("lr");
  c.init_lr = note("init_lr");
  c.end_lr = note("end_lr");
  c.warmup_steps = static_cast<int64_t>(note("warmup"));
  c.steps = static_cast<int64_t>(
      golden.note({"optimizer", "decay_steps"}, static_cast<double>(steps)));
  c.adamw = {.beta1 = note("b1"),
             .beta2 = note("b2"),
             .eps = note("eps"),
             .weight_decay = note("weight_decay"),
             .clip_norm = note("clip")};
  c.inner_lr_warmup_steps =
      static_cast<int64_t>(golden.note({"inner_lr_warmup", "warmup"}, 0));
  c.inner_lr_init = golden.note({"inner_lr_warmup", "init"}, 0);
  return c;
}

// Sequences of one step. Masking labels equal to BOS goes with the mean per
// sequence, then over sequences; else the loss is the mean over all labels.
Batch make_batch(const HostArray& tokens, int64_t step, bool mask_bos) {
  const int64_t B = tokens.shape().at(1), L = tokens.shape().at(2) - 1;
  Batch batch;
  for (int64_t b = 0; b < B; ++b) {
    const auto ids =
        tokens.values<int64_t>().subspan((step * B + b) * (L + 1), L + 1);
    Sequence sequence = make_sequence({ids.begin(), ids.end()}, 0);
    int64_t labels = L;
    if (mask_bos) {
      for (int64_t& target : sequence.targets) {
        if (target == kBos) target = kIgnoredTarget, --labels;
      }
    }
    sequence.loss_scale = 1.0 / static_cast<double>(B * labels);
    batch.push_back(std::move(sequence));
  }
  return batch;
}

void compare_flat(const std::string& prefix, const Values& flat,
                  const ParameterLayout& layout, const Case& golden,
                  DType dtype, double reference, Report& report) {
  for (const Parameter& p : layout.parameters()) {
    if (!golden.has(prefix + p.name)) continue;
    report.compare(prefix + p.name, values_of(p, flat),
                   golden.values(prefix + p.name),
                   gradient_tolerance(dtype, p.name, reference));
  }
}

}  // namespace

void check_optimizer(const Options& options, const Case& golden,
                     Communicator& world, Report& report) {
  const ModelConfig config =
      read_model_config(options.directory + "/config.json");
  const HostArray tokens = golden.array("tokens");
  const int64_t steps = tokens.shape().at(0);
  const OptimizerConfig optimizer = read_optimizer(golden, steps);
  const bool mask_bos = golden.notes.value("mask_bos", false);
  const auto [train, parallel] =
      layout_of(options, config, tokens.shape().at(2) - 1, world, report);

  Context ctx(options.device);
  Trainer trainer(ctx, world, config, train, parallel, optimizer.adamw);
  load_weights(ctx, options.directory + "/weights.safetensors",
               trainer.model().weights());
  Values losses, norms, rates, multipliers;
  for (int64_t s = 0; s < steps; ++s) {
    rates.push_back(learning_rate(optimizer, s));
    multipliers.push_back(
        inner_rate_multiplier(optimizer, config.ttt_base_lr, s));
    const Trainer::StepResult result = trainer.step(
        make_batch(tokens, s, mask_bos), rates.back(), multipliers.back(), s);
    losses.push_back(result.loss);
    norms.push_back(result.grad_norm);
  }

  const bool f64 = options.dtype == DType::kF64;
  const auto note = [&](const char* name) {
    return golden.note({"f32_vs_f64", name}, 0);
  };
  report.compare("loss", losses, golden.values("loss"),
                 f64 ? relative(1e-9)
                     : absolute(std::max(3e-6, 10 * note("loss_max_abs"))));
  report.compare(
      "grad_norm", norms, golden.values("grad_norm"),
      f64 ? relative(1e-8)
          : relative(std::max(1e-5, 10 * note("grad_norm_max_rel"))));
  report.compare("lr", rates, golden.values("lr"), relative(1e-12));
  report.compare("ttt_lr_mult", multipliers, golden.values("ttt_lr_mult"),
                 relative(1e-12));
  const ParameterLayout& layout = trainer.model().weights().layout();
  compare_flat("final.", to_values(ctx, trainer.model().weights().flat()),
               layout, golden, options.dtype, note("final_weights_rel_l2_max"),
               report);
  compare_flat("adam_m.",
               to_values(ctx, trainer.optimizer().gather_first_moment()),
               layout, golden, options.dtype, 0, report);
  compare_flat("adam_v.",
               to_values(ctx, trainer.optimizer().gather_second_moment()),
               layout, golden, options.dtype, 0, report);
}

}  // namespace timepipe::golden
