// The schedules of learning rates, outer and inner.

#include "launcher/trainer/rates.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace timepipe {
namespace {

// What is done at `step` of steps [first, end).
double share_done(int64_t step, int64_t first, int64_t end) {
  if (first >= end) return 1.0;
  const auto done = static_cast<double>(step - first);
  return std::clamp(done / static_cast<double>(end - first), 0.0, 1.0);
}

double cosine(const OptimizerConfig& c, double r) {
  const double end = c.end_lr / c.lr;
  return c.lr *
         ((1 - end) * (0.5 * (1 + std::cos(std::numbers::pi * r))) + end);
}

double linear(const OptimizerConfig& c, double r) {
  return (1 - r) * c.lr + r * c.end_lr;
}

}  // namespace

double learning_rate(const OptimizerConfig& c, int64_t step) {
  if (step < c.warmup_steps) {
    return c.init_lr + (c.lr - c.init_lr) * static_cast<double>(step) /
                           static_cast<double>(c.warmup_steps);
  }
  switch (c.schedule) {
    case RateSchedule::kCosine:
      return cosine(c, share_done(step, c.warmup_steps, c.steps));
    case RateSchedule::kLinear:
      return linear(c, share_done(step, c.warmup_steps, c.steps));
    case RateSchedule::kWarmupStableDecay:
      return linear(c, share_done(step, c.steps - c.decay_steps, c.steps));
    case RateSchedule::kConstant:
      break;
  }
  return c.lr;
}

double inner_rate_multiplier(const OptimizerConfig& config, double base_lr,
                             int64_t step) {
  if (config.inner_lr_warmup_steps == 0) return 1.0;
  const double share =
      std::min(1.0, static_cast<double>(step) /
                        static_cast<double>(config.inner_lr_warmup_steps));
  const double init = config.inner_lr_init;
  return (init + share * (base_lr - init)) / base_lr;
}

}  // namespace timepipe
