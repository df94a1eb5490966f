#include "models/language_model.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/models/model_runs.h"

// Whole models over packed documents on one rank: finite differences of the
// loss, and what cutting the sequences into chunks must not change.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::Observations;

class LanguageModelTest
    : public ::testing::TestWithParam<std::tuple<ModelOptions, bool>> {
 protected:
  static ModelConfig config() {
    ModelConfig config = testing::small_model(std::get<0>(GetParam()));
    config.tie_word_embeddings = std::get<1>(GetParam());
    return config;
  }
};

void check_gradient(const ModelConfig& config, int64_t chunk_tokens) {
  const testing::Threads one_thread(1);
  Context ctx;
  const auto world = make_self_communicator();
  Trainer trainer(ctx, *world, config, in_chunks(chunk_tokens), {}, {});
  ParameterStore& weights = trainer.model().weights();
  testing::randomise(4, weights);
  trainer.model().set_inner_rate_multiplier(0.7);
  const double loss = trainer.forward_backward(testing::packed_batch(5));
  ASSERT_TRUE(trainer.optimizer().reduce(trainer.gradients()).finite);
  const Tensor gradient = trainer.optimizer().gather_gradient();

  testing::ForwardLoss loss_of(ctx, *world, trainer.model(), trainer.model());
  EXPECT_EQ(loss_of(), loss);
  testing::expect_gradient(ctx, weights, gradient, [&] { return loss_of(); });
}

TEST_P(LanguageModelTest, GradientsAreThoseOfFiniteDifferences) {
  check_gradient(config(), 8);
}

// Sums over all tokens of products of two features, through every layer.
double tolerance(const ModelConfig& config) {
  return testing::rounding(DType::kF64, 56 * config.hidden_size) *
         static_cast<double>(config.num_layers);
}

TEST_P(LanguageModelTest, SplitIntoChunksDoesNotChangeTheResult) {
  ModelRun run{.config = config(),
               .batch = testing::packed_batch(6),
               .train = in_chunks(44)};
  Observations whole;
  const ModelResult expected = run_model(run, &whole);
  for (const int64_t chunk_tokens : {4, 8, 12}) {
    SCOPED_TRACE(chunk_tokens);
    run.train = in_chunks(chunk_tokens);
    Observations chunks;
    expect_close(run.config, run_model(run, &chunks), expected,
                 tolerance(run.config));
    ASSERT_EQ(chunks.names(), whole.names());
    for (const std::string& name : whole.names()) {
      EXPECT_TRUE(testing::close_l2(chunks.values(name), whole.values(name),
                                    tolerance(run.config)))
          << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    AllOptions, LanguageModelTest,
    ::testing::Combine(::testing::ValuesIn(testing::all_model_options()),
                       ::testing::Bool()),
    testing::OptionsName());

// One layer, or more than two; convolutions without a halo, or with one as long
// as a chunk; mini-batches of one token; sizes that are no powers of two.
TEST(LanguageModel, GradientsAreRightForOtherSizes) {
  struct Sizes {
    int64_t layers, kernel, mini_batch;
  };
  for (const auto& [layers, kernel, mini_batch] :
       {Sizes{1, 5, 1}, Sizes{1, 1, 4}, Sizes{3, 5, 2}}) {
    SCOPED_TRACE(layers * 100 + kernel * 10 + mini_batch);
    ModelConfig config =
        testing::small_model({InnerModel::kMlp, true, true, true});
    config.num_layers = layers;
    config.conv_kernel = kernel;
    config.mini_batch_size = mini_batch;
    config.hidden_size = 12;
    config.num_heads = 3;
    config.intermediate_size = 7;
    check_gradient(config, 4);
  }
}

}  // namespace
}  // namespace timepipe
