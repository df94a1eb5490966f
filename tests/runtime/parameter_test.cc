#include "runtime/parameter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/tensors.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::ThrowsMessage;

constexpr int64_t kBlock = ParameterBlock::kElements;

ParameterLayout sample_layout() {
  ParameterLayout layout;
  layout.add("scale", {5});
  layout.add("large", {2, kBlock + 3});
  layout.add("last", {16});
  return layout;
}

TEST(ParameterLayout, ParametersStartAtCacheLines) {
  const ParameterLayout layout = sample_layout();
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
  const ParameterLayout layout = sample_layout();
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
  ParameterLayout layout = sample_layout();
  EXPECT_EQ(layout.index_of("large"), 1);
  EXPECT_EQ(layout.add("one more", {}), 3);
  EXPECT_EQ(layout.parameters()[3].count, 1);
  EXPECT_THAT([&] { layout.index_of("missing"); },
              ThrowsMessage<InvalidArgument>("no parameter named missing"));
}

TEST(ParameterLayout, RefusesRepeatedNamesAndEmptyShapes) {
  ParameterLayout layout = sample_layout();
  EXPECT_THAT([&] { layout.add("scale", {7}); },
              ThrowsMessage<InvalidArgument>("parameter scale: added twice"));
  EXPECT_THAT(
      [&] {
        layout.add("w", {3, 0});
      },
      ThrowsMessage<InvalidArgument>(
          "parameter w: shape [3,0], expected sizes above 0"));
  EXPECT_EQ(layout.parameters().size(), 3u);
}

TEST(ParameterStore, StartsAtZeroAndGivesViews) {
  Context ctx;
  ParameterStore store(ctx, sample_layout(), DType::kF64);
  EXPECT_THAT(testing::to_f64(store.flat()), ::testing::Each(0));
  EXPECT_EQ(ctx.pool().current_bytes(MemoryUse::kParameters),
            store.flat().size_bytes());

  Tensor large = store.value("large");
  EXPECT_EQ(large.shape(), (Shape{2, kBlock + 3}));
  large.data<double>()[0] = 1.5;
  EXPECT_EQ(store.flat().data<double>()[16], 1.5);
  EXPECT_EQ(store.value(0).shape(), Shape{5});
  EXPECT_THROW(store.value("missing"), InvalidArgument);
}

TEST(BlockHashes, AreXxh64OfTheBlocksBytes) {
  Context ctx;
  const ParameterLayout layout = sample_layout();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor flat = testing::normal(ctx, 1, {layout.numel()}, dtype);
    std::vector<uint64_t> expected;
    for (int64_t i = 0; i < layout.num_blocks(); ++i) {
      const ParameterBlock b = layout.block(i);
      const Tensor block = flat.slice(b.offset, b.offset + b.count);
      expected.push_back(XXH64(block.bytes().data(), block.bytes().size(), 0));
    }
    EXPECT_EQ(block_hashes(layout, flat, 0, 5), expected);
    EXPECT_THAT(block_hashes(layout, flat, 1, 3),
                ElementsAre(expected[1], expected[2]));
    EXPECT_TRUE(block_hashes(layout, flat, 5, 5).empty());
  }
}

TEST(BlockHashes, SeeOneBitButNotThePadding) {
  Context ctx;
  ParameterStore store(ctx, sample_layout(), DType::kF32);
  const auto hashes = [&] {
    return block_hashes(store.layout(), store.flat(), 0, 5);
  };
  const std::vector<uint64_t> before = hashes();
  store.flat().data<float>()[5] = 1;  // behind "scale"
  EXPECT_EQ(hashes(), before);
  store.value("last").data<float>()[15] = -0.f;
  EXPECT_NE(hashes(), before);
  EXPECT_NE(combine_hashes(hashes()), combine_hashes(before));
}

TEST(BlockHashes, DoNotDependOnThreads) {
  Context ctx;
  const ParameterLayout layout = sample_layout();
  const Tensor flat = testing::normal(ctx, 2, {layout.numel()}, DType::kF32);
  const std::vector<uint64_t> expected = block_hashes(layout, flat, 0, 5);
  for (const int count : {1, 2, 3}) {
    const testing::Threads threads(count);
    EXPECT_EQ(block_hashes(layout, flat, 0, 5), expected);
  }
}

TEST(BlockHashes, RefuseWrongArguments) {
  Context ctx;
  const ParameterLayout layout = sample_layout();
  const Tensor flat = ctx.zeros({layout.numel()}, DType::kF32);
  EXPECT_THAT([&] { block_hashes(layout, flat, 2, 6); },
              ThrowsMessage<InvalidArgument>("blocks [2,6) of 5"));
  EXPECT_THROW(block_hashes(layout, flat.slice(0, 5), 0, 5), InvalidArgument);
}

TEST(CombineHashes, DependsOnOrder) {
  EXPECT_EQ(combine_hashes({}), 0xef46db3751d8e999u);  // of no bytes, seed 0
  EXPECT_NE(combine_hashes({1, 2}), combine_hashes({2, 1}));
}

}  // namespace
}  // namespace timepipe
