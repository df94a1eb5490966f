#include <gtest/gtest.h>

#include "launcher/config/config_text.h"

namespace timepipe {
namespace {

struct Size {
  const char* name;
  int64_t layers, width, heads, steps;
  double lr;
};

class ConfigFiles : public ::testing::TestWithParam<Size> {};

TEST_P(ConfigFiles, HoldThePapersNumbers) {
  const Size& size = GetParam();
  for (const bool mlp : {false, true}) {
    for (const bool mamba : {false, true}) {
      const RunConfig c =
          load_config(std::string(TIMEPIPE_CONFIGS "/ttt-") + size.name +
                      (mlp ? "-mlp" : "-linear") +
                      (mamba ? "-mamba" : "-transformer") + ".textproto");
      EXPECT_EQ(c.model.inner, mlp ? InnerModel::kMlp : InnerModel::kLinear);
      EXPECT_EQ(c.model.ttt_base_lr, mlp ? 0.1 : 1);
      EXPECT_EQ(c.model.pre_conv, mamba);
      EXPECT_EQ(c.model.num_layers, size.layers);
      EXPECT_EQ(c.model.hidden_size, size.width);
      EXPECT_EQ(c.model.num_heads, size.heads);
      EXPECT_EQ(c.data.batch * c.data.sequence_length, 1 << 19);
      EXPECT_EQ(c.optimizer.steps, size.steps);
      EXPECT_EQ(c.optimizer.warmup_steps * 10, size.steps);
      EXPECT_EQ(c.optimizer.lr, size.lr);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Paper, ConfigFiles,
    ::testing::Values(Size{"125m", 12, 768, 12, 4800, 3e-3},
                      Size{"350m", 24, 1024, 16, 13500, 1.5e-3},
                      Size{"760m", 24, 1536, 16, 29000, 1.25e-3},
                      Size{"1.3b", 24, 2048, 32, 50000, 1e-3}));

TEST(MillionConfig, Loads) {
  EXPECT_EQ(
      load_config(TIMEPIPE_CONFIGS "/million.textproto").data.sequence_length,
      1 << 20);
}

}  // namespace
}  // namespace timepipe
