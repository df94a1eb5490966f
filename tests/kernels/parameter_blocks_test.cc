#include "kernels/parameter_blocks.h"

#include <xxhash.h>

#include "tests/kernels/kernel_test.h"
#include "tests/support/five_blocks.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr int64_t kBlock = ParameterBlock::kElements;

Tensor hashes_of(Context& ctx, const ParameterLayout& layout, int64_t first,
                 int64_t last, const Tensor& flat) {
  Tensor hashes = ctx.allocate({last - first}, DType::kI64);
  block_hashes(ctx, layout, first, last, flat, hashes);
  return hashes;
}

// By the library.
std::vector<int64_t> hashes_expected(Context& ctx,
                                     const ParameterLayout& layout,
                                     const Tensor& flat) {
  std::vector<int64_t> expected;
  for (int64_t i = 0; i < layout.num_blocks(); ++i) {
    const ParameterBlock b = layout.block(i);
    const HostArray block =
        download(ctx, flat.slice(b.offset, b.offset + b.count));
    expected.push_back(static_cast<int64_t>(
        XXH64(block.bytes().data(), block.bytes().size(), 0)));
  }
  return expected;
}

TEST(BlockHashes, AreXxh64OfTheBlocksBytes) {
  TestContext ctx;
  const ParameterLayout layout = five_blocks();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor flat = normal(ctx, 1, {layout.numel()}, dtype);
    const std::vector<int64_t> expected = hashes_expected(ctx, layout, flat);
    EXPECT_EQ(to_i64(ctx, hashes_of(ctx, layout, 0, 5, flat)), expected);
    EXPECT_THAT(to_i64(ctx, hashes_of(ctx, layout, 1, 3, flat)),
                ::testing::ElementsAre(expected[1], expected[2]));
    EXPECT_TRUE(hashes_of(ctx, layout, 5, 5, flat).empty());
  }
}

TEST(BlockHashes, TakeBlocksOfEveryLength) {
  TestContext ctx;
  ParameterLayout layout;
  for (int64_t n = 1; n <= 70; ++n) layout.add(std::to_string(n), {n});
  for (const int64_t n : {255, 256, 257, 272, 300}) {
    layout.add("long" + std::to_string(n), {n});
  }
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
    const Tensor flat = normal(ctx, 4, {layout.numel()}, dtype);
    EXPECT_EQ(to_i64(ctx, hashes_of(ctx, layout, 0, 75, flat)),
              hashes_expected(ctx, layout, flat))
        << name_of(dtype);
  }
}

TEST(BlockHashes, SeeOneBitButNotThePadding) {
  TestContext ctx;
  const ParameterStore store(ctx, five_blocks(), DType::kF32);
  const auto hashes = [&] {
    return to_i64(ctx, hashes_of(ctx, store.layout(), 0, 5, store.flat()));
  };
  const std::vector<int64_t> before = hashes();
  fill(ctx, 1, store.flat().slice(5, 6));  // behind "scale"
  EXPECT_EQ(hashes(), before);
  fill(ctx, -0., store.value("last").slice(15, 16));
  EXPECT_NE(hashes(), before);
}

TEST(BlockSquareSums, AreThoseOfEachBlockOfAShard) {
  TestContext ctx;
  const ParameterLayout layout = five_blocks();
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor flat = normal(ctx, 2, {layout.numel()}, dtype);
    const std::vector<double> x = to_f64(ctx, flat);
    std::vector<double> expected;
    for (int64_t i = 1; i < 4; ++i) {
      const ParameterBlock b = layout.block(i);
      double sum = 0;
      for (int64_t j = b.offset; j < b.offset + b.count; ++j) {
        sum += x[j] * x[j];
      }
      expected.push_back(sum);
    }
    Tensor sums = nans(ctx, {3}, DType::kF64);
    const Tensor shard =
        flat.slice(layout.block(1).offset, layout.block(4).offset);
    block_square_sums(ctx, layout, 1, 4, shard, sums);
    EXPECT_TRUE(close(ctx, sums, expected, rounding(DType::kF64, kBlock)));
  }
}

TEST(ParameterBlocks, ThreadsDoNotChangeBits) {
  TestContext ctx;
  const ParameterLayout layout = five_blocks();
  const Tensor flat = normal(ctx, 3, {layout.numel()}, DType::kF32);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor sums = nans(ctx, {5}, DType::kF64);
    block_square_sums(ctx, layout, 0, 5, flat, sums);
    return std::vector<Tensor>{hashes_of(ctx, layout, 0, 5, flat), sums};
  }));
}

TEST(ParameterBlocks, ArgumentsAreChecked) {
  TestContext ctx;
  const ParameterLayout layout = five_blocks();
  const Tensor flat = ctx.zeros({layout.numel()}, DType::kF32);
  Tensor sums = nans(ctx, {5}, DType::kF64);
  EXPECT_THAT([&] { hashes_of(ctx, layout, 2, 6, flat); },
              refuses("blocks [2,6) of 5"));
  EXPECT_THAT([&] { hashes_of(ctx, layout, 0, 5, flat.slice(0, 5)); },
              refuses("flat: shape [5]"));
  EXPECT_THAT([&] { block_hashes(ctx, layout, 0, 5, flat, sums); },
              refuses("hashes: dtype f64"));
  EXPECT_THAT([&] { block_square_sums(ctx, layout, 0, 4, flat, sums); },
              refuses("sums: shape [5], expected [4]"));
  EXPECT_THAT(
      [&] { block_square_sums(ctx, layout, 0, 5, flat.slice(0, 40), sums); },
      refuses("shard: 40 elements, expected"));
}

}  // namespace
}  // namespace timepipe
