#include "models/block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/gradient_sum.h"
#include "models/build.h"
#include "tests/models/model_cases.h"
#include "tests/support/gradcheck.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

// One block on one chunk, with everything that may cross its borders: finite
// differences of <y, dy> + <halo_qk out, its gradient> + <state out, its
// gradient>.

namespace timepipe {
namespace {

using testing::filled;
using testing::Generator;
using testing::GradientOf;
using testing::inner_product;
using testing::ModelOptions;
using testing::nans;
using testing::normal;
using testing::same_bits;
using testing::TestContext;

constexpr DType kF64 = DType::kF64;

// A chunk of one shape. Rows outside the segments are padding.
struct ChunkCase {
  std::string name;
  int64_t mini_batch, conv_kernel, tokens;
  std::vector<Segment> segments;
};

std::vector<ChunkCase> chunk_cases() {
  return {
      {"StartingADocument", 4, 3, 7, {{0, 7, 0, true}}},
      {"InsideADocument", 4, 4, 8, {{0, 8, 8, false}}},
      {"WithAResetInside", 4, 3, 11, {{0, 3, 8, false}, {4, 6, 0, true}}},
      {"WithACarryInside", 4, 3, 10, {{0, 3, 4, false}, {4, 6, 0, false}}},
      {"CarryingOnAtItsStart", 4, 2, 6, {{0, 5, 0, false}}},
      {"OfAContextShorterThanTheHalo", 2, 4, 7, {{0, 7, 2, false}}},
      {"OfShortPieces", 2, 4, 4, {{0, 1, 6, false}, {2, 1, 0, true}}},
      {"WithoutAHalo", 4, 1, 7, {{0, 7, 8, false}}},
      {"OfPaddingOnly", 4, 3, 4, {}},
  };
}

using Borders = std::array<Tensor, kBorders>;

Tensor& at(Borders& borders, Border b) {
  return borders[static_cast<std::size_t>(b)];
}

struct Gradients {
  Tensor dx, parameters;  // parameters: flat
  Borders borders;
};

// A block with random weights, its chunk, and random gradients of its outputs.
class BlockOnChunk {
 public:
  BlockOnChunk(const ModelOptions& options, const ChunkCase& chunk)
      : config_(testing::small_model(options)) {
    config_.mini_batch_size = chunk.mini_batch;
    config_.conv_kernel = chunk.conv_kernel;
    ParameterLayout layout;
    std::unique_ptr<SequenceLayer> layer =
        make_sequence_layer(config_, "seq_modeling_block.", layout);
    block_.emplace(config_, "", layout, std::move(layer));
    weights_.emplace(ctx_, std::move(layout), kF64);
    testing::randomise(ctx_, 1, *weights_);
    block_->bind(*weights_);
    block_->layer().set_inner_rate_multiplier(0.7);
    view_ = {.micro_batch = 0,
             .chunk = 1,
             .first = 8,
             .rows = rows_of_one(chunk.tokens),
             .segments = chunk.segments,
             .detached = false};
    fill_inputs();
  }

  // Whether this border comes in on the left (parallel/schedule.h).
  bool crosses(Border b) const {
    const bool empty = view_.segments.empty();
    const Shape shape = block_->border_shape(b, 1);
    if (std::ranges::count(shape, 0) > 0) return false;  // not in this block
    if (b == Border::kState) return empty || !view_.segments[0].resets;
    return !empty && view_.segments[0].context > 0;
  }

  double forward() {
    block_->conv(ctx_, view_, slab_, at(in_, Border::kHaloX),
                 at(out_, Border::kHaloQk));
    block_->project(ctx_, view_, slab_, at(in_, Border::kHaloQk));
    block_->scan(ctx_, view_, slab_, at(in_, Border::kState),
                 at(out_, Border::kState));
    block_->output(ctx_, view_, slab_, y_);
    return inner_product(ctx_, y_, dy_) +
           inner_product(ctx_, at(out_, Border::kHaloQk),
                         at(dout_, Border::kHaloQk)) +
           inner_product(ctx_, at(out_, Border::kState),
                         at(dout_, Border::kState));
  }

  Context& ctx() { return ctx_; }
  const Borders& dout() const { return dout_; }
  Borders zeros() {
    Borders zeros;
    for (int b = 0; b < kBorders; ++b) {
      zeros[b] = filled(ctx_, 0, dout_[b].shape(), kF64);
    }
    return zeros;
  }

  // `dout`: gradients of what went out. Who doesn't take those of what came in
  // gets none.
  Gradients backward(Borders dout, bool take_borders) {
    Gradients d;
    d.dx = testing::clone(ctx_, dy_);
    GradientSum sum(ctx_, weights_->layout(), kF64);
    sum.start(ctx_, 1);
    for (int b = 0; b < kBorders && take_borders; ++b) {
      if (!in_[b].empty()) d.borders[b] = nans(ctx_, in_[b].shape(), kF64);
    }
    block_->output_backward(ctx_, view_, slab_, d.dx, sum);
    block_->scan_backward(ctx_, view_, slab_, at(dout, Border::kState),
                          at(d.borders, Border::kState), sum);
    block_->project_backward(ctx_, view_, slab_, at(in_, Border::kHaloQk),
                             at(d.borders, Border::kHaloQk), sum);
    block_->conv_backward(ctx_, view_, slab_, at(in_, Border::kHaloX),
                          at(dout, Border::kHaloQk),
                          at(d.borders, Border::kHaloX), d.dx, sum);
    EXPECT_EQ(testing::to_i64(ctx_, sum.refused()), std::vector<int64_t>{0});
    d.parameters = ctx_.allocate({weights_->layout().numel()}, kF64);
    gradient_sum_values(ctx_, sum.words(), 0, d.parameters);
    return d;
  }

  std::vector<GradientOf> to_check(Gradients& d) {
    std::vector<GradientOf> tensors = {{"x", x_, d.dx}};
    for (const Border b : {Border::kHaloX, Border::kHaloQk, Border::kState}) {
      if (!crosses(b)) continue;
      tensors.push_back({name_of(b), at(in_, b), at(d.borders, b)});
    }
    for (const Parameter& p : weights_->layout().parameters()) {
      tensors.push_back(
          {p.name, weights_->value(p.name),
           d.parameters.slice(p.offset, p.offset + p.count).reshape(p.shape)});
    }
    return tensors;
  }

 private:
  // Slabs may be longer than the chunk; nothing may depend on the rest.
  void fill_inputs() {
    Generator rng(2);
    slab_ = block_->make_slab(ctx_, rows_of_one(view_.rows.tokens + 3));
    x_ = rows(slab_.x, view_);
    copy(ctx_, normal(ctx_, rng, x_.shape(), kF64), x_);
    y_ = nans(ctx_, x_.shape(), kF64);
    dy_ = normal(ctx_, rng, x_.shape(), kF64);
    for (const Border b : {Border::kHaloX, Border::kHaloQk, Border::kState}) {
      const Shape shape = block_->border_shape(b, 1);
      if (crosses(b)) at(in_, b) = normal(ctx_, rng, shape, kF64, 0.5);
      if (b == Border::kHaloX) continue;
      at(out_, b) = nans(ctx_, shape, kF64);
      at(dout_, b) = normal(ctx_, rng, shape, kF64, 0.5);
    }
  }

  const testing::Threads one_thread_{1};
  TestContext ctx_;
  ModelConfig config_;
  std::optional<Block> block_;
  std::optional<ParameterStore> weights_;
  ChunkView view_;
  Block::Slab slab_;
  Tensor x_, y_, dy_;
  Borders in_, out_, dout_;
};

class BlockTest : public ::testing::TestWithParam<ModelOptions> {};

TEST_P(BlockTest, GradientsAreThoseOfFiniteDifferences) {
  for (const ChunkCase& chunk : chunk_cases()) {
    SCOPED_TRACE(chunk.name);
    BlockOnChunk block(GetParam(), chunk);
    block.forward();
    Gradients d = block.backward(block.dout(), true);
    EXPECT_TRUE(testing::gradients_agree(
        block.ctx(), [&] { return block.forward(); }, block.to_check(d),
        {.step = testing::kStep, .sample = 12}));
  }
}

TEST_P(BlockTest, GradientsOfTheRestStayIfNobodyTakesThoseOfTheBorders) {
  for (const ChunkCase& chunk : chunk_cases()) {
    SCOPED_TRACE(chunk.name);
    BlockOnChunk block(GetParam(), chunk);
    block.forward();
    const Gradients taken = block.backward(block.dout(), true);
    block.forward();
    const Gradients dropped = block.backward(block.dout(), false);
    EXPECT_TRUE(same_bits(block.ctx(), dropped.dx, taken.dx));
    EXPECT_TRUE(same_bits(block.ctx(), dropped.parameters, taken.parameters));
  }
}

TEST_P(BlockTest, NoGradientFromTheNextChunkMeansZero) {
  for (const ChunkCase& chunk : chunk_cases()) {
    SCOPED_TRACE(chunk.name);
    BlockOnChunk block(GetParam(), chunk);
    block.forward();
    const Gradients expected = block.backward(block.zeros(), true);
    block.forward();
    const Gradients d = block.backward({}, true);
    EXPECT_TRUE(same_bits(block.ctx(), d.dx, expected.dx));
    EXPECT_TRUE(same_bits(block.ctx(), d.parameters, expected.parameters));
    for (int b = 0; b < kBorders; ++b) {
      EXPECT_TRUE(same_bits(block.ctx(), d.borders[b], expected.borders[b]))
          << name_of(static_cast<Border>(b));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllOptions, BlockTest,
                         ::testing::ValuesIn(testing::all_model_options()),
                         testing::OptionsName());

}  // namespace
}  // namespace timepipe
