#include "launcher/trainer/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "models/build.h"
#include "tests/launcher/trainer/training_scenario.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

namespace timepipe::testing {
namespace {

constexpr int64_t kAll = 1000;  // hot rounds: more than any rank has chunks

std::vector<uint64_t> digests_on_threads(const Scenario& scenario,
                                         const Layout& layout,
                                         int omp_threads) {
  const int ranks = static_cast<int>(layout.time * layout.data);
  std::vector<std::vector<uint64_t>> digests(ranks);
  run_thread_ranks(ranks, [&](Communicator& world) {
    const Threads threads(omp_threads);
    digests[world.rank()] = run_scenario(scenario, layout, world);
  });
  for (const auto& of_rank : digests) EXPECT_EQ(of_rank, digests[0]);
  return digests[0];
}

class LayoutDoesNotChangeTheBits
    : public ::testing::TestWithParam<std::string> {
 protected:
  Scenario scenario() const { return scenario_named(GetParam()); }
};

TEST_P(LayoutDoesNotChangeTheBits, OfRanks) {
  const auto expected = digests_on_threads(scenario(), {1, 1, 1}, 1);
  // Training changes the weights: no two steps share a digest.
  EXPECT_NE(expected[1], expected[2]);
  for (const auto& [time, data] : std::vector<std::pair<int64_t, int64_t>>{
           {2, 1}, {3, 1}, {4, 1}, {8, 1}, {1, 2}, {2, 2}}) {
    SCOPED_TRACE(std::to_string(time) + "x" + std::to_string(data));
    EXPECT_EQ(digests_on_threads(scenario(), {time, data, 1}, 1), expected);
  }
}

TEST_P(LayoutDoesNotChangeTheBits, OfHotRounds) {
  const auto expected = digests_on_threads(scenario(), {1, 1, 1}, 1);
  for (const int64_t hot : {int64_t{0}, int64_t{2}, kAll}) {
    SCOPED_TRACE("hot rounds " + std::to_string(hot));
    EXPECT_EQ(digests_on_threads(scenario(), {1, 1, hot}, 1), expected);
    EXPECT_EQ(digests_on_threads(scenario(), {3, 1, hot}, 1), expected);
    EXPECT_EQ(digests_on_threads(scenario(), {2, 2, hot}, 1), expected);
  }
}

TEST_P(LayoutDoesNotChangeTheBits, OfThreads) {
  const auto expected = digests_on_threads(scenario(), {1, 1, 1}, 1);
  for (const int threads : {2, 3}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    EXPECT_EQ(digests_on_threads(scenario(), {1, 1, 1}, threads), expected);
    EXPECT_EQ(digests_on_threads(scenario(), {2, 1, 1}, threads), expected);
  }
}

// Wide enough for threads to have sums to split.
TEST(LayoutDoesNotChangeTheBitsOfAWideModel, OfThreadsAndRanks) {
  const auto expected = digests_on_threads(wide(), {1, 1, 1}, 1);
  for (const int threads : {2, 3}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    EXPECT_EQ(digests_on_threads(wide(), {1, 1, 1}, threads), expected);
  }
  EXPECT_EQ(digests_on_threads(wide(), {2, 1, 1}, 2), expected);
}

INSTANTIATE_TEST_SUITE_P(Backbones, LayoutDoesNotChangeTheBits,
                         ::testing::Values("linear_mamba", "mlp_transformer",
                                           "side_by_side", "in_bf16"),
                         [](const auto& info) { return info.param; });

// States go from the rank of a sequence's last chunk to that of its first.
TEST(LayoutDoesNotChangeTheBitsOfCarriedStates, OfRanks) {
  for (const Scenario& scenario : {carried(), carried_side_by_side()}) {
    const auto expected = digests_on_threads(scenario, {1, 1, 1}, 1);
    for (const Layout& layout :
         std::vector<Layout>{{2, 1, 0}, {3, 1, 1}, {8, 1, kAll}, {2, 2, 1}}) {
      SCOPED_TRACE(std::to_string(layout.time) + "x" +
                   std::to_string(layout.data) + ", " +
                   std::to_string(scenario.micro_batch) + " side by side");
      EXPECT_EQ(digests_on_threads(scenario, layout, 1), expected);
    }
  }
}

// Of the sequences that other data ranks take it knows the length alone.
TEST(LayoutDoesNotChangeTheBits, OfWhatARankKnows) {
  const auto digests_of = [](const Scenario& scenario, const Layout& layout,
                             bool knows_all) {
    std::vector<uint64_t> digests;
    run_thread_ranks(
        static_cast<int>(layout.time * layout.data), [&](Communicator& world) {
          const Threads one_thread(1);
          TestContext ctx;
          Trainer trainer = make_trainer(scenario, layout, ctx, world);
          initialise(ctx, scenario.model, 1, trainer.model().weights());
          for (int64_t step = 0; step < 4; ++step) {
            Batch batch = scenario_batch(scenario, step);
            for (int64_t s = 0; s < std::ssize(batch) && !knows_all; ++s) {
              if (trainer.grid().share().takes(s)) continue;
              batch[s] = sequence_elsewhere(batch[s].tokens());
            }
            const auto result = trainer.step(batch, 1e-3, 1.0, step);
            if (world.rank() == 0) digests.push_back(result.digest);
          }
        });
    return digests;
  };
  for (const Scenario& scenario :
       {linear_mamba(), carried(), carried_side_by_side()}) {
    const auto expected = digests_of(scenario, {1, 1}, true);
    EXPECT_EQ(digests_of(scenario, {1, 2}, false), expected);
    EXPECT_EQ(digests_of(scenario, {2, 2}, false), expected);
  }
}

// One document over `chunks` chunks, so that every border is crossed.
Batch one_document(int64_t tokens) {
  std::vector<int64_t> ids(tokens + 1);
  for (int64_t t = 0; t <= tokens; ++t) ids[t] = t * 7 % 13;
  return {make_sequence(ids, 1.0 / static_cast<double>(tokens))};
}

// Copies in another type don't outlive the weights that they were made of.
TEST(Evaluation, ReadsTheWeightsThatAreThere) {
  const auto world = make_self_communicator();
  for (const Scenario& scenario : {mlp_transformer(), mlp_in_bf16()}) {
    const Batch batch = scenario_batch(scenario, 0);
    TestContext ctx;
    const auto losses = [&](const std::vector<uint64_t>& seeds) {
      Trainer trainer = make_trainer(scenario, {}, ctx, *world);
      std::vector<double> losses;
      for (const uint64_t seed : seeds) {
        initialise(ctx, scenario.model, seed, trainer.model().weights());
        losses.push_back(trainer.evaluate(batch));
      }
      return losses;
    };
    const std::vector<double> both = losses({1, 2});
    EXPECT_EQ(both[1], losses({2})[0]);
    EXPECT_NE(both[1], both[0]);
  }
}

// Forward passes give the loss that a step reports, on any layout.
TEST(Evaluation, IsTheLossOfTheStepThatFollows) {
  const Scenario scenario = linear_mamba();
  const Batch batch = scenario_batch(scenario, 0);
  std::vector<double> losses;
  for (const ParallelConfig& parallel :
       std::vector<ParallelConfig>{{.time = 1, .data = 1},
                                   {.time = 3, .data = 1},
                                   {.time = 2, .data = 2}}) {
    const auto ranks = static_cast<int>(parallel.time * parallel.data);
    run_thread_ranks(ranks, [&](Communicator& world) {
      const Threads one_thread(1);
      TestContext ctx;
      Trainer trainer(ctx, world, scenario.model,
                      {.chunk_tokens = scenario.chunk_tokens}, parallel, {});
      initialise(ctx, scenario.model, 3, trainer.model().weights());
      const double before = trainer.evaluate(batch);
      EXPECT_EQ(before, trainer.forward_backward(batch));
      EXPECT_EQ(before, trainer.evaluate(batch));
      if (world.rank() == 0) losses.push_back(before);
    });
  }
  EXPECT_THAT(losses, ::testing::Each(losses[0]));
}

struct Measured {
  std::vector<int64_t> bytes_sent;  // per time rank
  int64_t peak_activations;         // bytes, rank 0
};

Measured measure_step(const ModelConfig& model, int64_t tokens,
                      int64_t chunk_tokens, int ranks) {
  Measured measured{std::vector<int64_t>(ranks), 0};
  run_thread_ranks(ranks, [&](Communicator& world) {
    TestContext ctx;
    TrainConfig train;
    train.chunk_tokens = chunk_tokens;
    ParallelConfig parallel;
    parallel.time = ranks;
    Trainer trainer(ctx, world, model, train, parallel, {});
    initialise(ctx, model, 1, trainer.model().weights());
    trainer.step(one_document(tokens), 1e-3, 1.0, 0);
    measured.bytes_sent[world.rank()] =
        trainer.grid().between_time_ranks->bytes_sent();
    if (world.rank() == 0) {
      measured.peak_activations =
          ctx.pool().peak_bytes(MemoryUse::kActivations) +
          ctx.pool().peak_bytes(MemoryUse::kScratch);
    }
  });
  return measured;
}

ModelConfig tiny(InnerModel inner, int64_t layers) {
  ModelConfig config;
  config.vocab_size = 16;
  config.hidden_size = 8;
  config.intermediate_size = 16;
  config.num_layers = layers;
  config.num_heads = 1;
  config.inner = inner;
  config.use_gate = config.share_qk = config.pre_conv = true;
  return config;
}

TEST(BytesSent, EqualTheStatesAndHalosOfAllBorders) {
  const int64_t layers = 3, ranks = 3, chunks = 7;
  const ModelConfig model = tiny(InnerModel::kLinear, layers);
  const int64_t f = sizeof(float);
  const int64_t state = (8 * 8 + 8) * f, halo = 3 * 8 * f;
  const int64_t expected =
      2 * (chunks - 1) * (layers * (state + halo) + (layers - 1) * halo);
  const auto bytes = measure_step(model, chunks * 16, 16, ranks).bytes_sent;
  EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), int64_t{0}), expected);
  // At the same number of chunks, sequences four times as long send the same.
  EXPECT_EQ(measure_step(model, chunks * 64, 64, ranks).bytes_sent, bytes);
}

TEST(PeakActivations, DoNotGrowWithTheSequence) {
  const ModelConfig model = tiny(InnerModel::kLinear, 1);
  const auto few = measure_step(model, 16384, 2048, 1);
  const auto many = measure_step(model, 262144, 2048, 1);
  EXPECT_GT(few.peak_activations, 0);
  EXPECT_LE(static_cast<double>(many.peak_activations),
            1.1 * static_cast<double>(few.peak_activations));
}

// Also that being watched changes no bits: the digest is that of the others.
TEST(Watch, TellsHowFarAStepIs) {
  const Scenario scenario = linear_mamba();
  const auto world = make_self_communicator();
  std::vector<uint64_t> digests;
  for (const bool watched : {false, true}) {
    TestContext ctx;
    Trainer trainer(ctx, *world, scenario.model,
                    {.chunk_tokens = scenario.chunk_tokens}, {}, {});
    initialise(ctx, scenario.model, 3, trainer.model().weights());
    std::vector<StepPosition> told;
    if (watched) {
      trainer.set_watch([&](const StepPosition& p) { told.push_back(p); });
    }
    digests.push_back(
        trainer.step(scenario_batch(scenario, 0), 1e-3, 1.0, 0).digest);
    if (!watched) continue;
    ASSERT_FALSE(told.empty());
    EXPECT_EQ(told.back().share, 1.0);
    EXPECT_EQ(told.back().chunk, 0);  // backward, last chunk first
    EXPECT_EQ(told.back().micro_batches, 2);
    EXPECT_TRUE(std::ranges::is_sorted(told, {}, &StepPosition::share));
    told.clear();
    trainer.evaluate(scenario_batch(scenario, 0));
    EXPECT_FALSE(told.back().training);
    EXPECT_EQ(told.back().share, 1.0);
  }
  EXPECT_EQ(digests[0], digests[1]);
}

// One rank, and weights to begin with.
struct Alone {
  explicit Alone(const ModelConfig& model)
      : trainer(ctx, *world, model, {.chunk_tokens = 16}, {}, {}) {
    initialise(ctx, model, 1, trainer.model().weights());
  }
  TestContext ctx;
  std::unique_ptr<Communicator> world = make_self_communicator();
  Trainer trainer;
};

TEST(Trainer, NonFiniteStepLeavesTheWeightsAlone) {
  Alone alone(tiny(InnerModel::kMlp, 1));
  Trainer& trainer = alone.trainer;
  const uint64_t before = trainer.optimizer().digest();
  Batch batch = one_document(32);
  batch[0].loss_scale = 1e30;  // gradients beyond what the sums can hold
  const auto result = trainer.step(batch, 1e-3, 1.0, 0);
  EXPECT_FALSE(result.finite);
  EXPECT_EQ(result.digest, before);
  EXPECT_TRUE(trainer.step(one_document(32), 1e-3, 1.0, 1).finite);
}

// Nor do steps that leave them alone count in AdamW's bias correction.
TEST(Trainer, StepWithoutALabelLeavesTheWeightsAlone) {
  const Scenario scenario = linear_mamba();
  uint64_t expected = 0;  // of one update
  for (const Layout& layout :
       std::vector<Layout>{{1, 1}, {1, 1}, {3, 1}, {2, 2}}) {
    const bool alone = expected == 0;
    run_thread_ranks(
        static_cast<int>(layout.time * layout.data), [&](Communicator& world) {
          const Threads one_thread(1);
          TestContext ctx;
          Trainer trainer = make_trainer(scenario, layout, ctx, world);
          initialise(ctx, scenario.model, 1, trainer.model().weights());
          const uint64_t before = trainer.optimizer().digest();
          Batch batch = scenario_batch(scenario, 0);
          remove_labels(batch);
          for (int64_t step = 0; step < 2 && !alone; ++step) {
            const auto result = trainer.step(batch, 1e-3, 1.0, step);
            EXPECT_EQ(result.labels, 0);
            EXPECT_TRUE(std::isnan(result.loss));
            EXPECT_TRUE(result.finite);
            EXPECT_EQ(result.digest, before);
            EXPECT_EQ(trainer.optimizer().updates(), 0);
          }
          // One sequence with labels is enough, whichever rank has it.
          Batch half = scenario_batch(scenario, 2);
          const int64_t labels = half[1].labels();
          half[0].targets.assign(half[0].targets.size(), kIgnoredTarget);
          const auto result = trainer.step(half, 1e-3, 1.0, 2);
          EXPECT_EQ(result.labels, labels);
          EXPECT_NE(result.digest, before);
          if (world.rank() != 0) return;
          if (alone) expected = result.digest;
          EXPECT_EQ(result.digest, expected);
        });
  }
}

TEST(Trainer, LearnsToRepeatOneBatch) {
  Alone alone(tiny(InnerModel::kLinear, 2));
  Trainer& trainer = alone.trainer;
  const Batch batch = one_document(64);
  const double first = trainer.step(batch, 1e-2, 1.0, 0).loss;
  double last = first;
  for (int64_t step = 1; step < 150; ++step) {
    last = trainer.step(batch, 1e-2, 1.0, step).loss;
  }
  EXPECT_LT(last, 0.25 * first);
}

}  // namespace
}  // namespace timepipe::testing
