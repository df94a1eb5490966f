#include "launcher/trainer/rates.h"

#include <gtest/gtest.h>

#include <limits>

namespace timepipe {
namespace {

// Of 1 - r, times lr.
constexpr double kRounding = 1e-3 * std::numeric_limits<double>::epsilon();

// 100 steps from 1e-3 to 1e-5 after 10 of warm-up from 1e-4.
OptimizerConfig config_with(RateSchedule schedule) {
  OptimizerConfig config;
  config.schedule = schedule;
  config.lr = 1e-3, config.init_lr = 1e-4, config.end_lr = 1e-5;
  config.warmup_steps = 10, config.steps = 110;
  if (schedule == RateSchedule::kWarmupStableDecay) config.decay_steps = 20;
  return config;
}

TEST(LearningRate, WarmsUpThenFollowsACosine) {
  const OptimizerConfig config = config_with(RateSchedule::kCosine);
  EXPECT_DOUBLE_EQ(learning_rate(config, 0), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 5), 5.5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 10), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 60), 0.5 * (1e-3 + 1e-5));
  EXPECT_DOUBLE_EQ(learning_rate(config, 110), 1e-5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 500), 1e-5);
}

TEST(LearningRate, WarmsUpTheSameInAllSchedules) {
  for (const RateSchedule schedule :
       {RateSchedule::kLinear, RateSchedule::kConstant,
        RateSchedule::kWarmupStableDecay}) {
    const OptimizerConfig config = config_with(schedule);
    EXPECT_EQ(learning_rate(config, 0), 1e-4);
    EXPECT_DOUBLE_EQ(learning_rate(config, 9), 9.1e-4);
    EXPECT_EQ(learning_rate(config, 10), 1e-3);
    OptimizerConfig at_once = config;
    at_once.warmup_steps = 0, at_once.init_lr = 0;
    EXPECT_EQ(learning_rate(at_once, 0), 1e-3);
  }
}

// Each step takes a hundredth of lr - end_lr, 9.9e-6, off.
TEST(LearningRate, FallsLinearlyFromTheWarmUpToTheEnd) {
  const OptimizerConfig config = config_with(RateSchedule::kLinear);
  EXPECT_DOUBLE_EQ(learning_rate(config, 11), 9.901e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 60), 5.05e-4);
  EXPECT_NEAR(learning_rate(config, 109), 1.99e-5, kRounding);
  EXPECT_EQ(learning_rate(config, 110), 1e-5);
  EXPECT_EQ(learning_rate(config, 500), 1e-5);
}

TEST(LearningRate, StaysConstant) {
  const OptimizerConfig config = config_with(RateSchedule::kConstant);
  for (const int64_t step : {11, 60, 109, 110, 500}) {
    EXPECT_EQ(learning_rate(config, step), 1e-3);
  }
}

// Each of the last 20 steps takes a twentieth of lr - end_lr, 4.95e-5, off.
TEST(LearningRate, StaysStableThenDecays) {
  const OptimizerConfig config = config_with(RateSchedule::kWarmupStableDecay);
  for (const int64_t step : {11, 89, 90}) {
    EXPECT_EQ(learning_rate(config, step), 1e-3);
  }
  EXPECT_DOUBLE_EQ(learning_rate(config, 91), 9.505e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 100), 5.05e-4);
  EXPECT_NEAR(learning_rate(config, 109), 5.95e-5, kRounding);
  EXPECT_EQ(learning_rate(config, 110), 1e-5);
  EXPECT_EQ(learning_rate(config, 500), 1e-5);
}

TEST(LearningRate, DecaysAtOnceIfNoStepIsStable) {
  OptimizerConfig decays = config_with(RateSchedule::kWarmupStableDecay);
  decays.decay_steps = 100;
  const OptimizerConfig falls = config_with(RateSchedule::kLinear);
  for (int64_t step = 0; step <= 120; ++step) {
    EXPECT_EQ(learning_rate(decays, step), learning_rate(falls, step));
  }
}

TEST(InnerRateMultiplier, WarmsUpFromItsStart) {
  OptimizerConfig config;
  EXPECT_EQ(inner_rate_multiplier(config, 0.1, 0), 1.0);
  config.inner_lr_init = 0.01, config.inner_lr_warmup_steps = 4;
  EXPECT_DOUBLE_EQ(inner_rate_multiplier(config, 0.1, 0), 0.1);
  EXPECT_DOUBLE_EQ(inner_rate_multiplier(config, 0.1, 2), 0.55);
  EXPECT_DOUBLE_EQ(inner_rate_multiplier(config, 0.1, 9), 1.0);
}

}  // namespace
}  // namespace timepipe
