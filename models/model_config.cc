// What sizes and numbers of a model may be.

#include "models/model_config.h"

#include "runtime/expect.h"

namespace timepipe {
namespace {

constexpr int64_t kLargestSize = 1 << 20;

void expect_size(const char* name, int64_t value) {
  expect(value >= 1 && value <= kLargestSize, name, value,
         "1 to " + std::to_string(kLargestSize));
}

// Also false for what is not a number.
void expect_positive(const char* name, double value) {
  expect(value > 0 && value <= 1e30, name, value, "a positive number");
}

}  // namespace

void validate(const ModelConfig& config) {
  expect_size("vocab_size", config.vocab_size);
  expect_size("hidden_size", config.hidden_size);
  expect_size("intermediate_size", config.intermediate_size);
  expect_size("num_layers", config.num_layers);
  expect_size("num_heads", config.num_heads);
  expect_size("mini_batch_size", config.mini_batch_size);
  expect_size("conv_kernel", config.conv_kernel);
  expect(
      config.hidden_size % (2 * config.num_heads) == 0, "hidden_size",
      config.hidden_size,
      "a multiple of 2 * num_heads = " + std::to_string(2 * config.num_heads) +
          ", so that all heads have one, even size (RoPE turns pairs)");
  expect_positive("ttt_base_lr", config.ttt_base_lr);
  expect_positive("rope_theta", config.rope_theta);
  expect_positive("rms_norm_eps", config.rms_norm_eps);
  expect_positive("initializer_range", config.initializer_range);
}

}  // namespace timepipe
