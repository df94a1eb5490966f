#include "launcher/run/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace timepipe {
namespace {

using ::testing::HasSubstr;

RunConfig small() {
  RunConfig config;
  config.model.hidden_size = 64;
  config.model.intermediate_size = 172;
  config.model.num_layers = 2;
  config.model.num_heads = 4;
  config.data.sequence_length = 1 << 20;
  config.optimizer.steps = 10;
  return config;
}

TEST(Progress, TheShareOfThePeakIsAtMostOne) {
  Progress progress(small(), /*peak_flops=*/1.0, 0, false);
  EXPECT_EQ(progress.step_time(1 << 20).peak_share, 1);  // that was no peak
}

TEST(Progress, TheLargestPeakIsKept) {
  const double least = 1e30, most = 1e40;
  Progress progress(small(), least, 0, false);
  EXPECT_GT(progress.step_time(1 << 20).peak_share, 0);
  progress.raise_peak(most);
  const StepTime time = progress.step_time(1 << 20);
  const double flops = training_flops_per_token(small().model) * (1 << 20);
  EXPECT_DOUBLE_EQ(time.peak_share, flops / time.seconds / most);
  progress.raise_peak(least);
  const StepTime next = progress.step_time(1 << 20);
  EXPECT_DOUBLE_EQ(next.peak_share, flops / next.seconds / most);
}

// Padding and rows without a label do no useful work.
TEST(Progress, SpeedAndShareCountLabels) {
  Progress progress(small(), /*peak_flops=*/1e40, 0, false);
  const StepTime time = progress.step_time(1000);
  EXPECT_DOUBLE_EQ(time.tokens_per_second, 1000 / time.seconds);
  EXPECT_DOUBLE_EQ(
      time.peak_share,
      time.tokens_per_second * training_flops_per_token(small().model) / 1e40);
}

TEST(Progress, SmallNumbersAreNotZero) {
  Progress progress(small(), 1e12, 0, true);
  const auto line = [&](double loss, double norm) {
    ::testing::internal::CaptureStdout();
    progress.step(2,
                  {.loss = loss,
                   .grad_norm = norm,
                   .finite = true,
                   .labels = 1,
                   .digest = 0x123},
                  {.seconds = 1,
                   .tokens_per_second = 0.125,
                   .peak_share = 0,
                   .peak_flops = 1});
    return ::testing::internal::GetCapturedStdout();
  };
  EXPECT_THAT(line(1e-9, 2e-7),
              HasSubstr("step 3/10  loss 1.000000e-09 (1.4427e-09 bits/token)  "
                        "grad norm 2.0000e-07  tokens/s 0.125  "));
  EXPECT_THAT(line(5.976258, 1.5),
              HasSubstr("loss 5.976258 (8.6219 bits/token)  grad norm 1.5000"));
}

}  // namespace
}  // namespace timepipe
