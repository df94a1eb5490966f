#include "launcher/trainer/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "models/build.h"
#include "tests/launcher/trainer/training_scenario.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

namespace timepipe::testing {
namespace {

constexpr int64_t kAll = 1000;  // hot rounds: more than any rank has chunks

struct Taken {
  MemoryPlan plan;
  int64_t parameters, activations, borders, scratch, held;
  int64_t one_visit;  // bytes of all borders of one chunk
};

MemoryPlan plan_of_step(const Scenario& scenario, const Layout& layout,
                        const Batch& batch, int rank, bool saves) {
  const int time = static_cast<int>(layout.time);
  Batch mine;
  const DataShare share{rank / time, static_cast<int>(layout.data),
                        scenario.micro_batch};
  for (int64_t s = 0; s < std::ssize(batch); ++s) {
    if (share.takes(s)) mine.push_back(batch[s]);
  }
  const TrainConfig train{.micro_batch = scenario.micro_batch,
                          .chunk_tokens = scenario.chunk_tokens,
                          .hot_rounds = layout.hot_rounds,
                          .dtype = scenario.dtype};
  const ParallelConfig parallel{.time = layout.time, .data = layout.data};
  return plan_memory(
             {.model = scenario.model,
              .train = train,
              .parallel = parallel,
              .data_rank = rank / time,
              .micro_batches =
                  ChunkedBatch(
                      mine, {.chunk_tokens = scenario.chunk_tokens,
                             .mini_batch_size = scenario.model.mini_batch_size,
                             .micro_batch_size = scenario.micro_batch})
                      .shapes(),
              .keeps_borders = scenario.carries,
              .saves = saves,
              .device = test_device()})
      .at(rank % time);
}

std::vector<Taken> taken_by_step(const Scenario& scenario,
                                 const Layout& layout) {
  std::vector<Taken> taken(layout.time * layout.data);
  run_thread_ranks(static_cast<int>(taken.size()), [&](Communicator& world) {
    const Threads one_thread(1);
    TestContext ctx;
    Trainer trainer = make_trainer(scenario, layout, ctx, world);
    initialise(ctx, scenario.model, 3, trainer.model().weights());
    const Batch batch = scenario_batch(scenario, 0);
    Taken& mine = taken[world.rank()];
    mine.plan = plan_of_step(scenario, layout, batch, world.rank(), false);
    trainer.step(batch, 1e-3, 1.0, 0);
    const MemoryPool& pool = ctx.pool();
    mine.parameters = pool.peak_bytes(MemoryUse::kParameters);
    mine.activations = pool.peak_bytes(MemoryUse::kActivations);
    mine.borders = pool.peak_bytes(MemoryUse::kBorders);
    mine.scratch = pool.peak_bytes(MemoryUse::kScratch);
    mine.held = pool.held_bytes();
    mine.one_visit = 0;
    for (const LayerShape& layer : trainer.model().schedule_shape().layers) {
      for (const int64_t bytes : layer.border_bytes) {
        mine.one_visit += scenario.micro_batch * bytes;
      }
    }
  });
  return taken;
}

// Weights, sums and activations to the byte; borders never below what is taken,
// and above it by what is on its way; scratch about.
TEST(MemoryPlan, IsNearWhatAStepTakes) {
  for (const char* name : {"linear_mamba", "mlp_transformer", "side_by_side",
                           "in_bf16", "mlp_in_bf16"}) {
    for (const Layout& layout : std::vector<Layout>{
             {1, 1, 1}, {1, 1, 0}, {2, 1, 1}, {3, 1, 2}, {2, 2, kAll}}) {
      SCOPED_TRACE(std::string(name) + " on " + std::to_string(layout.time) +
                   " x " + std::to_string(layout.data));
      for (const Taken& t : taken_by_step(scenario_named(name), layout)) {
        EXPECT_EQ(t.plan.weights + t.plan.optimizer + t.plan.gradient_sums,
                  t.parameters);
        EXPECT_EQ(t.plan.activations, t.activations);
        EXPECT_GE(t.plan.borders, t.borders);
        EXPECT_LE(t.plan.borders, t.borders + 2 * t.one_visit);
        EXPECT_NEAR(static_cast<double>(t.plan.scratch) /
                        static_cast<double>(t.scratch),
                    1, 0.1);
        EXPECT_LE(static_cast<double>(t.held),
                  1.4 * static_cast<double>(t.plan.total()));
      }
    }
  }
}

RunConfig small_run() {
  RunConfig config;
  config.model = linear_mamba().model;
  config.data.sequence_length = 256;
  config.data.batch = 3;
  config.train.chunk_tokens = 32;
  return config;
}

TEST(PlanInput, DealsSequencesAndCutsThem) {
  RunConfig config = small_run();
  config.data.sequence_length = 250;
  config.parallel.data = 2;
  EXPECT_EQ(plan_input(config, 0).micro_batches.size(), 2);
  const MemoryPlanInput second = plan_input(config, 1);
  ASSERT_EQ(second.micro_batches.size(), 1);
  const MicroBatchShape& chunks = second.micro_batches[0];
  ASSERT_EQ(chunks.size(), 8);
  EXPECT_EQ(chunks.back().tokens, 26);
  EXPECT_FALSE(chunks[0].takes_state);
  EXPECT_TRUE(chunks[1].takes_state && chunks[1].takes_halo);
}

// The plan of a configuration is that of the batches that it trains on.
TEST(PlanInput, IsThatOfPlainSequences) {
  const RunConfig config = small_run();
  const std::vector<int64_t> text(257, 1);
  const ChunkedBatch batch(Batch(3, make_sequence(text, 1.0)),
                           {32, config.model.mini_batch_size});
  EXPECT_EQ(plan_input(config, 0).micro_batches, batch.shapes());
}

TEST(PlanInput, KnowsWhatIsCarriedAndDetached) {
  RunConfig config = small_run();
  config.data.carry_state = true;
  config.train.detach_every_chunks = 4;
  const MemoryPlanInput input = plan_input(config, 0);
  EXPECT_TRUE(input.keeps_borders);
  const MicroBatchShape& chunks = input.micro_batches[0];
  EXPECT_TRUE(chunks[0].takes_state && chunks[0].detached);
  EXPECT_TRUE(chunks[4].detached);
  EXPECT_FALSE(chunks[5].detached);
}

TEST(MemoryPlan, SavesCopyWhatSequencesLeftOnTheRank) {
  const Scenario scenario = carried();
  for (const Layout& layout : std::vector<Layout>{{1, 1}, {3, 1}, {2, 2}}) {
    std::vector<int64_t> copied(layout.time * layout.data);
    run_thread_ranks(static_cast<int>(copied.size()), [&](Communicator& world) {
      const Threads one_thread(1);
      TestContext ctx;
      Trainer trainer = make_trainer(scenario, layout, ctx, world);
      initialise(ctx, scenario.model, 3, trainer.model().weights());
      const Batch batch = scenario_batch(scenario, 0);
      trainer.step(batch, 1e-3, 1.0, 0);
      int64_t& mine = copied[world.rank()];
      for (const auto& border : trainer.carried().borders()) {
        mine += MemoryPool::block_bytes(border.value.numel() * sizeof(float));
      }
      const MemoryPlan plan =
          plan_of_step(scenario, layout, batch, world.rank(), true);
      EXPECT_EQ(plan.snapshot, plan.optimizer + mine);
    });
    EXPECT_GT(*std::ranges::max_element(copied), 0);
  }
}

TEST(MemoryPlan, OfADeviceLiesInTwoMemories) {
  RunConfig config = small_run();
  const MemoryPlan here = plan_memory(plan_input(config, 0))[0];
  EXPECT_EQ(here.host_bytes(), here.total());
  EXPECT_EQ(here.device_bytes(), 0);
  config.device = "cuda";
  config.run_dir = "somewhere";
  const MemoryPlan alone = plan_memory(plan_input(config, 0))[0];
  EXPECT_EQ(alone.staging, 0);
  EXPECT_EQ(alone.host_bytes(), alone.reduction + alone.step + alone.snapshot);
  EXPECT_EQ(alone.device_bytes(), alone.weights + alone.optimizer +
                                      alone.gradient_sums + alone.activations +
                                      alone.borders + alone.scratch);
  config.parallel.time = 2;
  const MemoryPlan of_two = plan_memory(plan_input(config, 0))[0];
  EXPECT_GT(of_two.staging, of_two.gradient_sums);
  EXPECT_GT(of_two.host_bytes(), of_two.staging);
}

TEST(MemoryPlan, SavesTakeACopyAndRanksShareIt) {
  RunConfig config = small_run();
  const int64_t alone = plan_memory(plan_input(config, 0))[0].total();
  config.run_dir = "somewhere";
  const MemoryPlan saves = plan_memory(plan_input(config, 0))[0];
  EXPECT_EQ(saves.total(), alone + saves.snapshot);
  EXPECT_EQ(saves.snapshot, saves.optimizer);
  config.parallel.time = 4;
  const auto shared = plan_memory(plan_input(config, 0));
  ASSERT_EQ(shared.size(), 4);
  for (const MemoryPlan& plan : shared) {
    EXPECT_LT(plan.optimizer, saves.optimizer);
    EXPECT_LT(plan.borders, saves.borders);
    EXPECT_EQ(plan.gradient_sums, saves.gradient_sums);
  }
}

}  // namespace
}  // namespace timepipe::testing
