#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/sequences.h"
#include "tests/support/test_device.h"

// Sequences that go on, in the next step, with the state that they left.

namespace timepipe {
namespace {

using testing::close_l2;
using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::parameters_of;
using testing::TestContext;
using testing::values_of;

constexpr int64_t kCut = 24;  // tokens of the first step, three chunks of 8

Batch whole_batch() {
  testing::Generator rng(21);
  Batch batch;
  batch.push_back(testing::pack(rng, {{0, 40, true}}, 40));
  // A document ends before the cut; the next starts there, with its state.
  batch.push_back(
      testing::pack(rng, {{0, 10, true}, {12, 9, false}, {24, 14, false}}, 40));
  // The first step ends with two chunks of padding.
  batch.push_back(testing::pack(rng, {{0, 5, true}, {24, 9, false}}, 40));
  return batch;
}

// A run as one sequence whose gradient is dropped at the cut, in chunks of 8;
// and in two steps.
struct TwoSteps {
  ModelRun whole;
  int64_t chunk_tokens;  // of the two
  int64_t first_tokens;  // of the first: the cut, or less, then padding
  int64_t micro_batch = 1;

  TrainConfig train(int64_t hot_rounds) const {
    TrainConfig train = in_chunks(chunk_tokens, hot_rounds);
    train.micro_batch = micro_batch;
    return train;
  }
};

class CarryTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static std::vector<TwoSteps> cases() {
    const ModelRun run{.config = testing::small_model(GetParam()),
                       .batch = whole_batch(),
                       .train = in_chunks(8, 1, kCut / 8)};
    // The last chunk of the first step, of 8 tokens, is all that convolutions
    // look back to.
    TwoSteps short_chunk{run, 16, kCut};
    short_chunk.whole.config.conv_kernel = 9;
    // It ends in a mini-batch of 2 rows, which padding would fill.
    TwoSteps partial{run, 8, kCut - 2};
    partial.whole.batch.erase(partial.whole.batch.begin());
    const TwoSteps side_by_side{run, 8, kCut, /*micro_batch=*/2};
    return {{run, 8, kCut}, short_chunk, partial, side_by_side};
  }
  static double tolerance(const ModelConfig& config) {
    return testing::rounding(DType::kF64, 56 * config.hidden_size) *
           static_cast<double>(config.num_layers);
  }

  struct Steps {
    ModelResult first, second;
  };
  // On ranks that are threads.
  static Steps run_steps(const TwoSteps& two, const ParallelConfig& parallel,
                         int64_t hot_rounds) {
    const auto ranks = static_cast<int>(parallel.time * parallel.data);
    std::vector<Steps> steps(static_cast<std::size_t>(ranks));
    run_thread_ranks(ranks, [&](Communicator& world) {
      const testing::Threads one_thread(1);
      TestContext ctx;
      const ModelConfig& config = two.whole.config;
      Trainer trainer(ctx, world, config, two.train(hot_rounds), parallel, {});
      testing::randomise(ctx, 3, trainer.model().weights());
      const auto run = [&](int64_t begin, int64_t end) {
        Batch batch;
        for (const Sequence& sequence : two.whole.batch) {
          batch.push_back(
              testing::piece_of(sequence, begin, end, config.halo_rows()));
        }
        ModelResult result = testing::run_batch(ctx, trainer, batch);
        trainer.carried().end_step(batch, /*step=*/begin > 0, /*finite=*/true);
        return result;
      };
      Steps& mine = steps[static_cast<std::size_t>(world.rank())];
      mine.first = run(0, two.first_tokens);
      mine.second = run(kCut, 40);
    });
    return std::move(steps[0]);
  }
};

TEST_P(CarryTest, TwoStepsAreOneSequenceDetachedBetweenThem) {
  for (const TwoSteps& two : cases()) {
    SCOPED_TRACE(two.chunk_tokens + two.first_tokens + two.micro_batch);
    const ModelResult whole = testing::run_model(two.whole);
    const Steps steps = run_steps(two, {}, 1);
    const double limit = tolerance(two.whole.config);
    EXPECT_NEAR(steps.first.loss + steps.second.loss, whole.loss,
                limit * whole.loss);
    EXPECT_NE(steps.second.loss, 0);
    for (const Parameter& p : parameters_of(two.whole.config)) {
      std::vector<double> sum = values_of(p, steps.first.gradient);
      const std::vector<double> second = values_of(p, steps.second.gradient);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += second[i];
      EXPECT_TRUE(close_l2(sum, values_of(p, whole.gradient), limit)) << p.name;
    }
  }
}

TEST_P(CarryTest, RanksAndHotRoundsDoNotChangeTheBits) {
  for (const TwoSteps& two : cases()) {
    const Steps expected = run_steps(two, {}, 1);
    for (const auto& [time, data] :
         std::vector<std::pair<int64_t, int64_t>>{{2, 1}, {3, 1}, {2, 2}}) {
      for (const int64_t hot_rounds : {0, 2}) {
        SCOPED_TRACE(std::to_string(two.chunk_tokens + two.first_tokens) +
                     " tokens, " + std::to_string(two.micro_batch) +
                     " side by side: " + std::to_string(time) + "x" +
                     std::to_string(data) + ", hot rounds " +
                     std::to_string(hot_rounds));
        const Steps steps =
            run_steps(two, {.time = time, .data = data}, hot_rounds);
        EXPECT_TRUE(same_bits(steps.first, expected.first));
        EXPECT_TRUE(same_bits(steps.second, expected.second));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllOptions, CarryTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

}  // namespace
}  // namespace timepipe
