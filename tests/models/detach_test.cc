#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/test_device.h"

// Truncated back-propagation: the gradient for which what crosses the border
// in front of a detached chunk is a constant.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::same_bits;
using testing::TestContext;
using testing::values_of;

constexpr int64_t kChunk = 4, kAllHot = 1000;

// The ids in front of a chunk that a convolution looks back to.
std::span<int64_t> ids_before(Sequence& sequence, int64_t first,
                              int64_t halo_rows) {
  return std::span(sequence.ids).subspan(first - halo_rows, halo_rows);
}

// Packed documents in which the ids in front of every second chunk don't occur
// in that chunk.
Batch batch_with_marked_borders(int64_t halo_rows) {
  Batch batch = testing::packed_batch(17);
  for (Sequence& sequence : batch) {
    for (int64_t first = 2 * kChunk; first < sequence.tokens();
         first += 2 * kChunk) {
      const auto begin = sequence.ids.begin() + first;
      const auto end = begin + std::min(kChunk, sequence.tokens() - first);
      for (int64_t& id : ids_before(sequence, first, halo_rows)) {
        while (std::find(begin, end, id) != end) id = (id + 1) % 11;
      }
    }
  }
  return batch;
}

// Runs a model forward; what comes into detached chunks, embedded ids included,
// is what it was the first time.
class FrozenBorders : public ChunkProgram {
 public:
  FrozenBorders(Context& ctx, LanguageModel& model, Batch batch)
      : model_(model),
        batch_(std::move(batch)),
        embedding_(model.weights().value("model.embed_tokens.weight")),
        kept_embedding_(testing::clone(ctx, embedding_)) {}

  void reserve_slabs(Context& ctx, int64_t num_slabs, int64_t members,
                     int64_t tokens) override {
    model_.reserve_slabs(ctx, num_slabs, members, tokens);
  }
  ChunkView view(int64_t micro_batch, int64_t chunk) const override {
    return model_.view(micro_batch, chunk);
  }
  Tensor make_border(Context& ctx, int64_t micro_batch,
                     LayerBorder border) const override {
    return model_.make_border(ctx, micro_batch, border);
  }
  void forward(Context& ctx, Part part, int64_t layer, const ChunkView& view,
               int slab, const Tensor& border_in, Tensor& border_out) override {
    const bool frozen = view.detached && view.first > 0;
    Tensor in = border_in;
    if (frozen && !in.empty()) {
      const auto [kept, is_new] =
          kept_.try_emplace({view.micro_batch, view.chunk, layer, part});
      if (is_new) kept->second = testing::clone(ctx, in);
      in = kept->second;
    }
    if (frozen && part == Part::kEmbed) swap_rows_before(ctx, view);
    model_.forward(ctx, part, layer, view, slab, in, border_out);
    if (frozen && part == Part::kEmbed) swap_rows_before(ctx, view);
  }
  void backward(Context&, Part, int64_t, const ChunkView&, int, const Tensor&,
                const Tensor&, Tensor&, GradientSum&) override {
    FAIL() << "forward only";
  }

 private:
  void swap_rows_before(Context& ctx, const ChunkView& view) {
    const auto before = ids_before(batch_[view.micro_batch], view.first,
                                   model_.config().halo_rows());
    for (const int64_t id : std::set<int64_t>(before.begin(), before.end())) {
      const Tensor row = embedding_.slice(id, id + 1);
      const Tensor kept = kept_embedding_.slice(id, id + 1);
      const Tensor before_it = copy(ctx, row);
      copy(ctx, kept, row);
      copy(ctx, before_it, kept);
    }
  }

  LanguageModel& model_;
  Batch batch_;
  Tensor embedding_, kept_embedding_;
  std::map<std::tuple<int64_t, int64_t, int64_t, Part>, Tensor> kept_;
};

class DetachTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelRun packed(int64_t detach_every) {
    const ModelConfig config = testing::small_model(GetParam());
    return {.config = config,
            .batch = batch_with_marked_borders(config.halo_rows()),
            .train = in_chunks(kChunk, kAllHot, detach_every)};
  }
};

TEST_P(DetachTest, GradientIsThatOfALossWithConstantBorders) {
  const testing::Threads one_thread(1);
  TestContext ctx;
  const auto world = make_self_communicator();
  const ModelRun run = packed(2);
  Trainer trainer(ctx, *world, run.config, run.train, {}, {});
  LanguageModel& model = trainer.model();
  run.weights(ctx, model.weights());
  const Tensor gradient = testing::reduced_gradient(
      ctx, trainer, trainer.forward_backward(run.batch));

  FrozenBorders frozen(ctx, model, run.batch);
  testing::ForwardLoss loss(ctx, *world, run, model, frozen);
  loss();  // keeps the borders
  testing::expect_gradient(ctx, model.weights(), gradient,
                           [&] { return loss(); });
}

TEST_P(DetachTest, LossIsTheSameAndLearnedStartsGetAnotherGradient) {
  const ModelResult full = run_model(packed(0));
  for (const int64_t every : {1, 2}) {
    const ModelRun run = packed(every);
    const ModelResult truncated = run_model(run);
    EXPECT_EQ(truncated.loss, full.loss);
    for (const Parameter& p : testing::parameters_of(run.config)) {
      if (!p.name.ends_with("W1")) continue;
      EXPECT_FALSE(testing::close_l2(values_of(p, truncated.gradient),
                                     values_of(p, full.gradient), 1e-3))
          << p.name << ", every " << every;
    }
  }
}

TEST_P(DetachTest, GradientIsTheFullOneIfTheSequenceIsOneChunk) {
  ModelRun run = packed(1);
  run.train.chunk_tokens = 44;
  const ModelResult truncated = run_model(run);
  run.train.detach_every_chunks = 0;
  EXPECT_TRUE(same_bits(truncated, run_model(run)));
}

TEST_P(DetachTest, GradientIsTheFullOneIfOnlyTheFirstChunkIsDetached) {
  ModelRun run = packed(11);
  ASSERT_EQ(num_chunks(run.batch[0].tokens(), kChunk), 11);
  const ModelResult truncated = run_model(run);
  run.train.detach_every_chunks = 0;
  EXPECT_TRUE(same_bits(truncated, run_model(run)));
}

TEST_P(DetachTest, RanksAndRecomputationLeaveNoTraceInTheBits) {
  for (const int64_t every : {1, 2}) {
    ModelRun run = packed(every);
    const ModelResult expected = run_model(run);
    for (const int64_t ranks : {1, 2, 3}) {
      for (const int64_t hot_rounds : {0, 1}) {
        run.parallel.time = ranks;
        run.train.hot_rounds = hot_rounds;
        EXPECT_TRUE(same_bits(run_model(run), expected))
            << "every " << every << ", " << ranks << " ranks, " << hot_rounds
            << " hot rounds";
      }
    }
  }
}

// Chunks on the right of the borders that gradients cross.
std::vector<std::pair<int, int>> gradient_messages(const ModelRun& run,
                                                   int ranks) {
  TestContext ctx;
  LanguageModel model(ctx, run.config, DType::kF64);
  ScheduleShape shape = model.schedule_shape();
  shape.ranks = ranks;
  shape.micro_batches = testing::chunks_of(run).shapes();
  std::vector<std::pair<int, int>> chunks;
  for (const OperationList& list : make_schedule(shape)) {
    for (const Operation& op : list) {
      if (op.kind == Operation::Kind::kCompute) continue;
      if (op.phase != Phase::kBackward) continue;
      chunks.emplace_back(op.micro_batch, op.chunk);
    }
  }
  return chunks;
}

TEST_P(DetachTest, NoGradientIsSentAcrossDetachedBorders) {
  using ::testing::Each;
  using ::testing::IsEmpty;
  using ::testing::Not;
  using ::testing::Pair;
  using ::testing::ResultOf;
  const auto is_odd = [](int chunk) { return chunk % 2 == 1; };
  EXPECT_THAT(gradient_messages(packed(1), 2), IsEmpty());
  EXPECT_THAT(gradient_messages(packed(0), 2), Not(IsEmpty()));
  const auto every_second = gradient_messages(packed(2), 2);
  EXPECT_THAT(every_second, Not(IsEmpty()));
  EXPECT_THAT(every_second, Each(Pair(::testing::_, ResultOf(is_odd, true))));
}

INSTANTIATE_TEST_SUITE_P(AllOptions, DetachTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

}  // namespace
}  // namespace timepipe
