#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/test_device.h"

// Losses and gradients have the same bits for any number of ranks and however
// many chunks are recomputed.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::Observations;
using testing::same_bits;
using testing::TestContext;

constexpr int64_t kAllHot = 1000;

class RanksTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelRun packed() {
    return {.config = testing::small_model(GetParam()),
            .batch = testing::packed_batch(7),
            .train = in_chunks(4, 0)};
  }
};

TEST_P(RanksTest, NumberOfTimeRanksAndRecomputationLeaveNoTraceInTheBits) {
  ModelRun run = packed();
  const ModelResult expected = run_model(run);
  for (const int64_t ranks : {1, 2, 3, 4, 7}) {
    for (const int64_t hot_rounds : {int64_t{0}, int64_t{1}, kAllHot}) {
      run.parallel.time = ranks;
      run.train.hot_rounds = hot_rounds;
      EXPECT_TRUE(same_bits(run_model(run), expected))
          << ranks << " ranks, " << hot_rounds << " hot rounds";
    }
  }
}

TEST_P(RanksTest, ActivationsAreTheSameOnAnyNumberOfRanks) {
  ModelRun run = packed();
  Observations one_rank;
  run_model(run, &one_rank);
  run.parallel.time = 3;
  run.train.hot_rounds = 1;
  Observations ranks;
  run_model(run, &ranks);
  ASSERT_EQ(ranks.names(), one_rank.names());
  for (const std::string& name : one_rank.names()) {
    EXPECT_EQ(ranks.values(name), one_rank.values(name)) << name;
  }
}

TEST_P(RanksTest, DataRanksLeaveNoTraceInTheBits) {
  ModelRun run = packed();
  testing::Generator rng(8);
  run.batch.push_back(testing::pack(rng, {{0, 9, true}}, 9));
  const ModelResult expected = run_model(run);
  run.parallel.data = 2;
  for (const int64_t ranks : {1, 2, 3}) {
    run.parallel.time = ranks;
    EXPECT_TRUE(same_bits(run_model(run), expected)) << "2 x " << ranks;
  }
}

INSTANTIATE_TEST_SUITE_P(AllOptions, RanksTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

ModelOptions everything() { return {InnerModel::kMlp, true, true, true}; }

TEST(Ranks, MayBeMoreThanChunksOrSequences) {
  ModelRun run{.config = testing::small_model(everything()),
               .batch = testing::packed_batch(9),
               .train = in_chunks(44)};
  const ModelResult expected = run_model(run);
  run.parallel.time = 5;
  EXPECT_TRUE(same_bits(run_model(run), expected));
  run.parallel = {.time = 1, .data = 3};
  EXPECT_TRUE(same_bits(run_model(run), expected));
}

TEST(Ranks, LeaveNoTraceForAnyNumberOfLayers) {
  for (const int64_t layers : {1, 3}) {
    ModelRun run{.config = testing::small_model(everything()),
                 .batch = testing::packed_batch(9),
                 .train = in_chunks(4, 0)};
    run.config.num_layers = layers;
    run.config.conv_kernel = 5;  // looks back over a whole chunk
    const ModelResult expected = run_model(run);
    run.parallel.time = 3;
    for (const int64_t hot_rounds : {0, 1}) {
      run.train.hot_rounds = hot_rounds;
      EXPECT_TRUE(same_bits(run_model(run), expected)) << layers << " layers";
    }
  }
}

// Slabs and lists of the step before must not show.
TEST(Ranks, GoFromBatchToBatchOfAnyShape) {
  ModelRun run{.config = testing::small_model(everything()),
               .batch = {},
               .train = in_chunks(8),
               .parallel = {.time = 2}};
  testing::Generator rng(10);
  const std::vector<Batch> batches = {
      {testing::pack(rng, {{0, 5, true}}, 5)},
      testing::packed_batch(11),
      {testing::pack(rng, {{0, 15, true}, {16, 9, false}}, 25)},
      testing::packed_batch(12)};
  std::vector<ModelResult> results(batches.size());
  run_thread_ranks(2, [&](Communicator& world) {
    const testing::Threads one_thread(1);
    TestContext ctx;
    Trainer trainer(ctx, world, run.config, run.train, run.parallel, {});
    run.weights(ctx, trainer.model().weights());
    for (std::size_t i = 0; i < batches.size(); ++i) {
      ModelResult result = testing::run_batch(ctx, trainer, batches[i]);
      if (world.rank() == 0) results[i] = std::move(result);
    }
  });
  for (std::size_t i = 0; i < batches.size(); ++i) {
    run.batch = batches[i];
    EXPECT_TRUE(same_bits(results[i], run_model(run))) << "batch " << i;
  }
}

}  // namespace
}  // namespace timepipe
