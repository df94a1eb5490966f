#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

// Borders of chunks where little is left of what crosses them: convolutions
// that look back over other documents and padding, last chunks that are shorter
// than that, chunks of padding at the end.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::Observations;
using testing::same_bits;
using testing::TestContext;
using testing::throws;

constexpr int64_t kChunk = 4, kAllHot = 1000;

// Convolutions look back to 3 rows, and documents start at every second. With
// mini-batches that short the inner model takes more steps, so smaller ones.
ModelConfig model_of(const ModelOptions& options) {
  ModelConfig config = testing::small_model(options);
  config.mini_batch_size = 2;
  config.conv_kernel = 4;
  config.ttt_base_lr = 0.5;
  return config;
}

// For chunks of 4. Documents have 2 rows before a border and 1 or more behind
// it; those before them, or padding, fill the halo up. Last chunks hold 1 or 2
// tokens, or padding alone.
Batch batch_of_borders() {
  testing::Generator rng(31);
  Batch batch;
  batch.push_back(testing::pack(rng,
                                {{0, 5, true},
                                 {6, 3, false},
                                 {10, 7, true},
                                 {18, 1, false},
                                 {20, 4, true},
                                 {24, 2, false}},
                                35));
  batch.push_back(testing::pack(rng, {{0, 9, true}}, 9));
  batch.push_back(testing::pack(rng, {{0, 2, true}, {2, 4, true}}, 6));
  batch.push_back(testing::pack(rng, {{0, 1, true}, {2, 3, false}}, 5));
  return batch;
}

class BordersTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelRun run() {
    return {.config = model_of(GetParam()),
            .batch = batch_of_borders(),
            .train = in_chunks(kChunk)};
  }

  // Sums over all tokens of products of two features, through every layer.
  static double tolerance() {
    const ModelConfig config = model_of(GetParam());
    return testing::rounding(DType::kF64, 55 * config.hidden_size) *
           static_cast<double>(config.num_layers);
  }

  // On every layout the run has the bits of `expected`.
  static void expect_same_bits(ModelRun run, const ModelResult& expected,
                               const std::vector<ParallelConfig>& layouts) {
    for (const ParallelConfig& layout : layouts) {
      for (const int64_t hot_rounds : {int64_t{0}, int64_t{1}, kAllHot}) {
        run.parallel = layout;
        run.train.hot_rounds = hot_rounds;
        EXPECT_TRUE(same_bits(run_model(run), expected))
            << layout.time << " x " << layout.data << ", " << hot_rounds
            << " hot rounds";
      }
    }
  }
};

TEST_P(BordersTest, GradientsAreThoseOfFiniteDifferences) {
  testing::check_gradient(run());
}

TEST_P(BordersTest, DoNotChangeTheResult) {
  ModelRun run = this->run();
  run.train = in_chunks(36);
  Observations whole;
  const ModelResult expected = run_model(run, &whole);
  for (const int64_t chunk_tokens : {4, 6, 8, 10}) {
    SCOPED_TRACE(chunk_tokens);
    run.train = in_chunks(chunk_tokens);
    Observations chunks;
    expect_close(run.config, run_model(run, &chunks), expected, tolerance());
    for (const std::string& name : whole.names()) {
      EXPECT_TRUE(testing::close_l2(chunks.values(name), whole.values(name),
                                    tolerance()))
          << name;
    }
  }
}

TEST_P(BordersTest, LookBackToTheSameDocumentAlone) {
  ModelRun run = this->run();
  Batch separate;
  for (Sequence& sequence : run.batch) {
    for (std::size_t d = 0; d < sequence.documents.size(); ++d) {
      sequence.documents[d].resets = true;
      separate.push_back(testing::alone(sequence, d));
    }
  }
  const ModelResult packed = run_model(run);
  run.batch = separate;
  expect_close(run.config, packed, run_model(run), tolerance());
}

TEST_P(BordersTest, HaveTheSameBitsOnEveryLayout) {
  const ModelRun run = this->run();
  expect_same_bits(run, run_model(run),
                   {{.time = 1, .data = 1},
                    {.time = 2, .data = 1},
                    {.time = 3, .data = 1},
                    {.time = 1, .data = 2},
                    {.time = 2, .data = 2},
                    {.time = 3, .data = 2}});
}

// On 8 ranks there are some that have nothing else.
TEST_P(BordersTest, ChunksOfPaddingAtTheEndLeaveNoTraceInTheBits) {
  testing::Generator rng(32);
  ModelRun run = this->run();
  run.batch = {testing::pack(rng, {{0, 6, true}, {8, 3, false}}, 34),
               testing::pack(rng, {{0, 7, true}}, 7)};
  Observations seen_padded;
  run_model(run, &seen_padded);
  ModelRun without = run;
  without.batch[0].ids.resize(3 * kChunk);
  without.batch[0].targets.resize(3 * kChunk);
  Observations seen;
  const ModelResult expected = run_model(without, &seen);
  for (const char* state : {"state.0", "state.1"}) {
    EXPECT_EQ(seen_padded.values(state), seen.values(state)) << state;
  }
  expect_same_bits(run, expected,
                   {{.time = 1, .data = 1},
                    {.time = 2, .data = 1},
                    {.time = 3, .data = 1},
                    {.time = 8, .data = 1},
                    {.time = 2, .data = 2}});
}

INSTANTIATE_TEST_SUITE_P(AllOptions, BordersTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

class Halo : public ::testing::Test {
 protected:
  static ModelConfig config(bool convolves) {
    return model_of({InnerModel::kLinear, false, false, convolves});
  }
  static void set_batch(const ModelConfig& config, int64_t tokens,
                        int64_t chunk_tokens, bool hands_on) {
    testing::Generator rng(33);
    ModelRun run{.config = config,
                 .batch = {testing::pack(rng, {{0, tokens, true}}, tokens)},
                 .train = in_chunks(chunk_tokens)};
    run.batch[0].hands_on = hands_on;
    TestContext ctx;
    LanguageModel(ctx, config, DType::kF64)
        .set_batch(ctx, testing::chunks_of(run));
  }
};

TEST_F(Halo, IsNoLongerThanAChunkThatAnotherFollows) {
  EXPECT_THAT([] { set_batch(config(true), 4, 2, false); },
              throws<InvalidArgument>(
                  "train.chunk_tokens: 2, expected at least conv_kernel - 1 = "
                  "3"));
  EXPECT_NO_THROW(set_batch(config(true), 2, 2, false));
  EXPECT_NO_THROW(set_batch(config(true), 5, 4, false));
  EXPECT_NO_THROW(set_batch(config(false), 4, 2, false));
}

TEST_F(Halo, IsNoLongerThanALastChunkThatTheNextStepGoesOnFrom) {
  for (const int64_t tokens : {2, 6, 10}) {
    EXPECT_THAT([=] { set_batch(config(true), tokens, 4, true); },
                throws<InvalidArgument>(
                    "last chunk of a sequence that goes on in the next step: 2 "
                    "tokens, expected at least conv_kernel - 1 = 3"));
    EXPECT_NO_THROW(set_batch(config(true), tokens + 2, 4, true));
    EXPECT_NO_THROW(set_batch(config(false), tokens, 4, true));
  }
}

}  // namespace
}  // namespace timepipe
