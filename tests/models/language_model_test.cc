#include "models/language_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

// Whole models over packed documents on one rank: finite differences of the
// loss, and what cutting the sequences into chunks must not change.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::Observations;
using testing::TestContext;
using testing::throws;

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
  testing::check_gradient(
      {.config = config,
       .batch = testing::packed_batch(5),
       .train = in_chunks(chunk_tokens),
       .weights = [](Context& ctx, ParameterStore& weights) {
         testing::randomise(ctx, 4, weights);
       }});
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

TEST(LanguageModel, NamesIdsAndTargetsOutsideTheVocabulary) {
  TestContext ctx;
  LanguageModel model(
      ctx, testing::small_model({InnerModel::kLinear, false, true, true}),
      DType::kF64);
  Batch batch = testing::packed_batch(5);
  batch[1].continues = true;
  batch[1].documents[0].resets = false;
  batch[1].ids_before = {0, 10};  // the largest id of 11
  const auto set = [&](const Batch& batch) {
    model.set_batch(ctx,
                    ChunkedBatch(batch, {8, model.config().mini_batch_size}));
  };
  const auto expect_refused = [&](std::vector<int64_t> Sequence::*in,
                                  int64_t at, int64_t value,
                                  const std::string& message) {
    Batch bad = batch;
    (bad[1].*in)[static_cast<std::size_t>(at)] = value;
    EXPECT_THAT([&] { set(bad); }, throws<InvalidArgument>(message));
  };
  EXPECT_NO_THROW(set(batch));
  for (const int64_t id : {int64_t{-1}, int64_t{11}, kIgnoredTarget}) {
    const std::string refused = std::to_string(id) + ", expected [0,11)";
    expect_refused(&Sequence::ids, 12, id, "sequence 1: ids[12]: " + refused);
    expect_refused(&Sequence::ids_before, 1, id,
                   "sequence 1: ids_before[1]: " + refused);
    if (id == kIgnoredTarget) continue;
    expect_refused(&Sequence::targets, 3, id,
                   "sequence 1: targets[3]: " + refused + " or -100");
  }
  batch[1].targets[3] = kIgnoredTarget;
  EXPECT_NO_THROW(set(batch));
}

TEST(LanguageModel, ANewBatchForgetsTheLossesOfTheLast) {
  TestContext ctx;
  const auto world = make_self_communicator();
  const ModelRun run{.config = testing::small_model(
                         {InnerModel::kLinear, false, false, false}),
                     .batch = testing::packed_batch(5),
                     .train = in_chunks(8)};
  LanguageModel model(ctx, run.config, DType::kF64);
  run.weights(ctx, model.weights());
  testing::ForwardLoss loss(ctx, *world, run, model, model);
  loss();
  // 6 chunks of 43 tokens, then 2 of 13: a slot each.
  const std::vector<double> losses = testing::to_f64(ctx, model.losses());
  EXPECT_EQ(losses.size(), 8U);
  EXPECT_THAT(losses, ::testing::Each(::testing::Gt(0)));
  model.set_batch(ctx, testing::chunks_of(run));
  EXPECT_EQ(testing::to_f64(ctx, model.losses()), std::vector<double>(8, 0.0));
}

}  // namespace
}  // namespace timepipe
