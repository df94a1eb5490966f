#include <gtest/gtest.h>

#include "launcher/trainer/trainer.h"

namespace timepipe {
namespace {

TEST(LearningRate, WarmsUpThenFollowsACosine) {
  OptimizerConfig config;
  config.lr = 1e-3, config.init_lr = 1e-4, config.end_lr = 1e-5;
  config.warmup_steps = 10, config.steps = 110;
  EXPECT_DOUBLE_EQ(learning_rate(config, 0), 1e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 5), 5.5e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config, 10), 1e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 60), 0.5 * (1e-3 + 1e-5));
  EXPECT_DOUBLE_EQ(learning_rate(config, 110), 1e-5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 500), 1e-5);
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
