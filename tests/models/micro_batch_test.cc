#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

// Sequences that run side by side equal sequences that run one after the other,
// up to rounding, and have the same bits in any layout.

namespace timepipe {
namespace {

using namespace testing;

constexpr int64_t kAllHot = 1000;

// Of different lengths, with documents and weights of labels of their own: what
// the shorter ones lack is padding. Eight: micro-batches of 3 leave one of 2,
// those of 7 one of 1.
Batch uneven_batch() {
  Batch batch = packed_batch(7);
  Generator rng(31);
  batch.push_back(pack(rng, {{0, 43, true}}, 43));
  batch.push_back(pack(rng, {{0, 4, true}, {4, 29, false}}, 35));
  batch.push_back(pack(rng, {{0, 6, true}, {20, 3, true}}, 30));
  batch.push_back(pack(rng, {{0, 9, true}}, 9));
  batch.push_back(pack(rng, {{0, 24, true}, {24, 8, true}}, 32));
  batch.push_back(pack(rng, {{0, 17, true}, {20, 20, false}}, 40));
  // Small enough for the sums of gradients to hold, as those of real batches.
  for (double scale = 1e-3; Sequence & s : batch) s.loss_scale = scale *= 1.5;
  return batch;
}

class MicroBatchTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelRun run_of(int64_t micro_batch, int64_t detach_every = 0) {
    ModelRun run{.config = small_model(GetParam()),
                 .batch = uneven_batch(),
                 .train = in_chunks(8, 1, detach_every)};
    run.train.micro_batch = micro_batch;
    return run;
  }
};

TEST_P(MicroBatchTest, EqualsSequencesOneAfterTheOther) {
  const ModelResult expected = run_model(run_of(1));
  for (const int64_t size : {3, 7, 8}) {
    SCOPED_TRACE(size);
    expect_close(run_of(1).config, run_model(run_of(size)), expected, kSameF64);
  }
  constexpr int64_t kDetachEvery = 2;
  expect_close(run_of(1).config, run_model(run_of(3, kDetachEvery)),
               run_model(run_of(1, kDetachEvery)), kSameF64);
}

TEST_P(MicroBatchTest, ActivationsEqualThoseOfSequencesAlone) {
  Observations alone, together;
  run_model(run_of(1), &alone);
  run_model(run_of(3), &together);
  ASSERT_EQ(together.names(), alone.names());
  for (const std::string& name : alone.names()) {
    EXPECT_TRUE(close_l2(together.values(name), alone.values(name), kSameF64))
        << name;
  }
}

TEST_P(MicroBatchTest, LayoutsLeaveNoTraceInTheBits) {
  ModelRun run = run_of(3);
  const ModelResult expected = run_model(run);
  for (const int64_t data : {1, 2, 3}) {
    for (const int64_t time : {1, 3}) {
      for (const int64_t hot_rounds : {int64_t{0}, kAllHot}) {
        run.parallel = {.time = time, .data = data};
        run.train.hot_rounds = hot_rounds;
        EXPECT_TRUE(same_bits(run_model(run), expected))
            << time << " x " << data << " ranks, " << hot_rounds
            << " hot rounds";
      }
    }
  }
}

TEST_P(MicroBatchTest, EvaluatesToTheLossOfTheTraining) {
  ModelRun run = run_of(3);
  const double loss = run_model(run).loss;
  run.trains = false;
  EXPECT_EQ(run_model(run).loss, loss);
}

INSTANTIATE_TEST_SUITE_P(AllOptions, MicroBatchTest,
                         ::testing::ValuesIn(all_model_options()),
                         OptionsName());

TEST(MicroBatchGradient, AgreesWithFiniteDifferences) {
  for (const InnerModel inner : {InnerModel::kLinear, InnerModel::kMlp}) {
    ModelRun run{.config = small_model({inner, true, true, true}),
                 .batch = uneven_batch(),
                 .train = in_chunks(8)};
    run.train.micro_batch = 3;
    check_gradient(run);
  }
}

int64_t kernels_of_step(int64_t micro_batch) {
  const auto world = make_self_communicator();
  TestContext ctx;
  ModelRun run{.config = small_model({InnerModel::kLinear, true, true, true}),
               .batch = Batch(8, packed_batch(7)[0]),
               .train = in_chunks(8)};
  run.train.micro_batch = micro_batch;
  Trainer trainer(ctx, *world, run.config, run.train, {}, {});
  run.weights(ctx, trainer.model().weights());
  const int64_t before = ctx.kernels_run();
  trainer.forward_backward(run.batch);
  return ctx.kernels_run() - before;
}

TEST(MicroBatch, RunsOneKernelForAllItsSequences) {
  const int64_t of_eight = kernels_of_step(8);
  const int64_t of_one = kernels_of_step(4) - of_eight;  // one micro-batch more
  EXPECT_LE(of_eight - of_one, 10);  // those that a step runs once
  EXPECT_EQ(kernels_of_step(1), of_eight + 7 * of_one);
}

// An evaluation of fewer sequences takes no other memory.
TEST(MicroBatch, KeepsItsSlabsForFewerSequences) {
  const auto world = make_self_communicator();
  TestContext ctx;
  ModelRun run{.config = small_model({InnerModel::kLinear, true, true, true}),
               .batch = uneven_batch(),
               .train = in_chunks(8)};
  run.train.micro_batch = 5;
  Trainer trainer(ctx, *world, run.config, run.train, {}, {});
  run.weights(ctx, trainer.model().weights());
  const double loss = trainer.forward_backward(run.batch);
  const MemoryPool& pool = ctx.pool();
  const int64_t before = pool.current_bytes(MemoryUse::kActivations);
  const int64_t peak = pool.peak_bytes(MemoryUse::kActivations);
  trainer.evaluate({run.batch[1]});
  EXPECT_EQ(pool.current_bytes(MemoryUse::kActivations), before);
  EXPECT_EQ(trainer.forward_backward(run.batch), loss);
  EXPECT_EQ(pool.peak_bytes(MemoryUse::kActivations), peak);
}

TEST(MicroBatch, OfSequencesThatHandOnNeedsEqualLengths) {
  Batch batch = uneven_batch();
  batch[1].hands_on = true;
  EXPECT_NO_THROW(ChunkedBatch(batch, {8, 4}));
  EXPECT_THAT(
      [&] {
        ChunkedBatch(batch, {8, 4, 0, 2});
      },
      testing::throws<InvalidArgument>(
          "sequence 1: 13 tokens of a sequence that goes on in the next step, "
          "expected those of the longest of its micro-batch, 43"));
}

}  // namespace
}  // namespace timepipe
