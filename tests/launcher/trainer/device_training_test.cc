#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "launcher/config/config_text.h"
#include "launcher/data/train_data.h"
#include "launcher/trainer/rates.h"
#include "launcher/trainer/trainer.h"
#include "models/build.h"
#include "runtime/rng.h"
#include "tests/support/temporary_file.h"
#include "tests/support/threads.h"

namespace timepipe::testing {
namespace {

constexpr int64_t kSteps = 20;

// Words, drawn at random from a few: what a model learns at once.
std::string some_text() {
  const std::vector<std::string> words = {"in ",  "the ",   "beginning ",
                                          "god ", "light ", "and ",
                                          "was ", "day, ",  "night.\n"};
  const Rng rng(5, "text");
  std::string text;
  for (uint64_t i = 0; text.size() < 20000; ++i) {
    text += words[rng.bits(i) % words.size()];
  }
  return text;
}

struct Curve {
  std::vector<double> losses, norms;
};

// The demo, a small form of it, on a device.
Curve train_demo(const std::string& text, Device device, DType dtype) {
  const RunConfig config =
      load_config(TIMEPIPE_CONFIGS "/demo.textproto",
                  {"data.train=" + text, "data.sequence_length=256",
                   "train.chunk_tokens=64", "model.hidden_size=32",
                   "model.num_heads=2", "model.intermediate_size=48",
                   std::string("train.dtype=") + name_of(dtype),
                   "optimizer.steps=" + std::to_string(kSteps)});
  const TrainData data(config);
  const Threads one_thread(1);
  const auto world = make_self_communicator();
  Context ctx(device);
  Trainer trainer(ctx, *world, config.model, config.train, config.parallel,
                  config.optimizer.adamw);
  initialise(ctx, config.model, config.train.seed, trainer.model().weights());
  Curve curve;
  for (int64_t step = 0; step < kSteps; ++step) {
    const Trainer::StepResult result = trainer.step(
        data.batch(step), learning_rate(config.optimizer, step),
        inner_rate_multiplier(config.optimizer, config.model.ttt_base_lr, step),
        step);
    EXPECT_TRUE(result.finite);
    curve.losses.push_back(result.loss);
    curve.norms.push_back(result.grad_norm);
  }
  return curve;
}

// |device - f64| <= 10 |f32 - f64| in every step. The CPU's f32 and f64 cross
// now and then, where their difference says nothing about f32: never less than
// the largest difference so far is allowed, nor than a few roundings.
void expect_as_close(const char* what, const std::vector<double>& device,
                     const std::vector<double>& f32,
                     const std::vector<double>& f64) {
  constexpr double kEps = std::numeric_limits<float>::epsilon();
  double largest = 0;
  for (std::size_t i = 0; i < f64.size(); ++i) {
    const double difference = std::abs(f32[i] - f64[i]);
    largest = std::max({largest, difference, 4 * kEps * std::abs(f64[i])});
    EXPECT_LE(std::abs(device[i] - f64[i]), std::max(10 * difference, largest))
        << what << " of step " << i + 1 << ": " << device[i] << " on cuda, "
        << f32[i] << " on the CPU in f32, " << f64[i] << " in f64";
  }
}

TEST(DeviceTraining, FollowsTheCpuAsCloselyAsF32Can) {
  const TemporaryFile text(some_text(), ".txt");
  constexpr Device kCuda{.kind = Device::Kind::kCuda, .index = 0};
  const Curve f64 = train_demo(text.path(), Device{}, DType::kF64);
  const Curve f32 = train_demo(text.path(), Device{}, DType::kF32);
  const Curve cuda = train_demo(text.path(), kCuda, DType::kF32);
  expect_as_close("loss", cuda.losses, f32.losses, f64.losses);
  expect_as_close("norm", cuda.norms, f32.norms, f64.norms);
  EXPECT_LT(f64.losses.back(), 0.8 * f64.losses.front());  // it does learn
  EXPECT_NE(cuda.losses, f32.losses);  // or is it the CPU's kernels?
}

}  // namespace
}  // namespace timepipe::testing
