#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/models/model_runs.h"
#include "tests/support/gradcheck.h"

// Truncated back-propagation: the gradient for which what crosses the border
// in front of a detached chunk is a constant.

namespace timepipe {
namespace {

using testing::in_chunks;
using testing::ModelOptions;
using testing::ModelResult;
using testing::ModelRun;
using testing::same_bits;

constexpr int64_t kAllHot = 1000;

// Runs a model forward; what comes into detached chunks stays what it was the
// first time.
class FrozenBorders : public ChunkProgram {
 public:
  explicit FrozenBorders(LanguageModel& model) : model_(model) {}

  void reserve_lanes(Context& ctx, int64_t num_lanes, int64_t tokens) override {
    model_.reserve_lanes(ctx, num_lanes, tokens);
  }
  ChunkView view(int64_t sequence, int64_t chunk) const override {
    return model_.view(sequence, chunk);
  }
  void forward(Context& ctx, Part part, int64_t layer, const ChunkView& view,
               int lane, ConstBytes border_in, Bytes border_out) override {
    if (view.detached && !border_in.empty()) {
      const auto [kept, _] = kept_.try_emplace(
          {view.sequence, view.chunk, layer, part},
          std::vector<std::byte>(border_in.begin(), border_in.end()));
      border_in = kept->second;
    }
    model_.forward(ctx, part, layer, view, lane, border_in, border_out);
  }
  void backward(Context&, Part, int64_t, const ChunkView&, int, ConstBytes,
                ConstBytes, Bytes, GradientSum&) override {
    FAIL() << "forward only";
  }

 private:
  LanguageModel& model_;
  std::map<std::tuple<int64_t, int64_t, int64_t, Part>, std::vector<std::byte>>
      kept_;
};

class DetachTest : public ::testing::TestWithParam<ModelOptions> {
 protected:
  static ModelRun packed(int64_t detach_every) {
    return {.config = config(),
            .batch = testing::packed_batch(17),
            .train = in_chunks(4, kAllHot, detach_every)};
  }

  static ModelConfig config() {
    ModelConfig config = testing::small_model(GetParam());
    config.tie_word_embeddings = false;
    return config;
  }
};

// Rows of the embedding that layer 0's convolution looks back to across a
// detached border: constants there, but not where they are tokens.
std::set<int64_t> rows_in_halos(const LanguageModel& model) {
  std::set<int64_t> rows;
  if (!model.config().pre_conv) return rows;
  const std::vector<SequenceShape> shapes = model.batch().shapes();
  for (std::size_t s = 0; s < shapes.size(); ++s) {
    for (std::size_t c = 0; c < shapes[s].size(); ++c) {
      if (!shapes[s][c].detached || !shapes[s][c].takes_halo) continue;
      const auto end =
          model.batch().sequences()[s].ids.begin() + model.view(s, c).first;
      rows.insert(end - model.config().halo_rows(), end);
    }
  }
  return rows;
}

TEST_P(DetachTest, GradientIsThatOfALossWithConstantBorders) {
  const testing::Threads one_thread(1);
  Context ctx;
  const auto world = make_self_communicator();
  const ModelRun run = packed(2);
  Trainer trainer(ctx, *world, run.config, run.train, {}, {});
  LanguageModel& model = trainer.model();
  run.weights(model.weights());
  trainer.forward_backward(run.batch);
  trainer.optimizer().reduce(trainer.gradients());
  const Tensor gradient = trainer.optimizer().gather_gradient();

  FrozenBorders frozen(model);
  testing::ForwardLoss loss(ctx, *world, model, frozen);
  loss();  // keeps the borders
  const std::set<int64_t> skipped = rows_in_halos(model);
  ASSERT_LT(skipped.size(), 11u);
  for (const Parameter& p : model.weights().layout().parameters()) {
    Tensor value = model.weights().value(p.name);
    Tensor d = gradient.slice(p.offset, p.offset + p.count).reshape(p.shape);
    if (!p.name.ends_with("embed_tokens.weight")) {
      EXPECT_TRUE(testing::gradients_agree([&] { return loss(); },
                                           {{p.name, value, d}},
                                           {.step = testing::kStep,
                                            .sample = 5}));
      continue;
    }
    for (int64_t row = 0; row < p.shape[0]; ++row) {
      if (skipped.contains(row)) continue;
      EXPECT_TRUE(testing::gradients_agree(
          [&] { return loss(); },
          {{p.name, value.slice(row, row + 1), d.slice(row, row + 1)}},
          {.step = testing::kStep}))
          << "row " << row;
    }
  }
}
