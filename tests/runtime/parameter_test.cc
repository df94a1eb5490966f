#include "runtime/parameter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/five_blocks.h"
#include "tests/support/tensors.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using testing::throws;

constexpr int64_t kBlock = ParameterBlock::kElements;

TEST(ParameterLayout, ParametersStartAtCacheLines) {
  const ParameterLayout layout = testing::five_blocks();
  const auto& p = layout.parameters();
  ASSERT_EQ(p.size(), 3u);
  EXPECT_EQ(std::tuple(p[0].offset, p[0].count), std::tuple(0, 5));
  EXPECT_EQ(std::tuple(p[1].offset, p[1].count),
            std::tuple(16, 2 * kBlock + 6));
  EXPECT_EQ(std::tuple(p[2].offset, p[2].count),
            std::tuple(16 + 2 * kBlock + 16, 16));
  EXPECT_EQ(layout.numel(), 16 + 2 * kBlock + 16 + 16);
}

TEST(ParameterLayout, BlocksNeverSpanParameters) {
  const ParameterLayout layout = testing::five_blocks();
  std::vector<std::tuple<int64_t, int64_t, int64_t>> blocks;
  for (int64_t i = 0; i < layout.num_blocks(); ++i) {
    const ParameterBlock b = layout.block(i);
    blocks.emplace_back(b.parameter, b.offset, b.count);
  }
  EXPECT_THAT(blocks,
              ElementsAre(std::tuple(0, 0, 5), std::tuple(1, 16, kBlock),
                          std::tuple(1, 16 + kBlock, kBlock),
                          std::tuple(1, 16 + 2 * kBlock, 6),
                          std::tuple(2, 32 + 2 * kBlock, 16)));
}

TEST(ParameterLayout, ParameterOfAWholeNumberOfBlocks) {
  ParameterLayout layout;
  layout.add("w", {2, kBlock});
  EXPECT_EQ(layout.num_blocks(), 2);
  EXPECT_EQ(layout.numel(), 2 * kBlock);
}

// `timepipe plan` makes the layouts of models that no machine holds.
TEST(ParameterLayout, TakesNoMemoryOrTimeForItsElements) {
  constexpr int64_t kParameters = 20000, kBlocks = int64_t{1} << 26;
  ParameterLayout layout;
  for (int64_t i = 0; i < kParameters; ++i) {
    layout.add("w" + std::to_string(i), {kBlocks, kBlock});
  }
  EXPECT_EQ(layout.index_of("w19999"), kParameters - 1);
  EXPECT_EQ(layout.num_blocks(), kParameters * kBlocks);
  const ParameterBlock last = layout.block(layout.num_blocks() - 1);
  EXPECT_EQ(last.parameter, kParameters - 1);
  EXPECT_EQ(last.offset + last.count, layout.numel());
}

TEST(ParameterLayout, IsFoundByName) {
  ParameterLayout layout = testing::five_blocks();
  EXPECT_EQ(layout.index_of("large"), 1);
  EXPECT_EQ(layout.add("one more", {}), 3);
  EXPECT_EQ(layout.parameters()[3].count, 1);
  EXPECT_THAT([&] { layout.index_of("missing"); },
              throws<InvalidArgument>("no parameter named missing"));
}

TEST(ParameterLayout, RefusesRepeatedNamesAndEmptyShapes) {
  ParameterLayout layout = testing::five_blocks();
  EXPECT_THAT([&] { layout.add("scale", {7}); },
              throws<InvalidArgument>("parameter scale: added twice"));
  EXPECT_THAT(
      [&] {
        layout.add("w", {3, 0});
      },
      throws<InvalidArgument>(
          "parameter w: shape [3,0], expected sizes above 0"));
  EXPECT_EQ(layout.parameters().size(), 3u);
}

TEST(ParameterStore, StartsAtZeroAndGivesViews) {
  Context ctx;
  ParameterStore store(ctx, testing::five_blocks(), DType::kF64);
  EXPECT_THAT(testing::to_f64(ctx, store.flat()), ::testing::Each(0));
  EXPECT_EQ(ctx.pool().current_bytes(MemoryUse::kParameters),
            store.flat().size_bytes());

  const Tensor large = store.value("large");
  EXPECT_EQ(large.shape(), (Shape{2, kBlock + 3}));
  testing::fill(ctx, 1.5, large.slice(0, 1));
  EXPECT_EQ(testing::to_f64(ctx, store.flat())[16], 1.5);
  EXPECT_EQ(store.value(0).shape(), Shape{5});
  EXPECT_THROW(store.value("missing"), InvalidArgument);
}

TEST(CombineHashes, DependsOnOrder) {
  const auto combined = [](const std::vector<uint64_t>& hashes) {
    return combine_hashes(hashes);
  };
  EXPECT_EQ(combined({}), 0xef46db3751d8e999u);  // of no bytes, seed 0
  EXPECT_NE(combined({1, 2}), combined({2, 1}));
  EXPECT_NE(combined({1, 2}), combined({1, 3}));
}

}  // namespace
}  // namespace timepipe
