#include "runtime/tensor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/context.h"
#include "runtime/error.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using testing::TestContext;
using testing::throws;
using testing::to_f64;

// [0, 1, 2, ...]
Tensor counting(Context& ctx, Shape shape) {
  return testing::generate(ctx, std::move(shape), DType::kF32,
                           [](int64_t i) { return i; });
}

TEST(Tensor, HasShapeAndSize) {
  TestContext ctx;
  const Tensor t = ctx.zeros({2, 3, 4}, DType::kF64);
  EXPECT_EQ(t.rank(), 3);
  EXPECT_EQ(t.dim(1), 3);
  EXPECT_EQ(t.numel(), 24);
  EXPECT_EQ(t.size_bytes(), 192);
  EXPECT_EQ(t.device(), ctx.device());
  EXPECT_FALSE(t.empty());
}

TEST(Tensor, EmptyAndScalar) {
  TestContext ctx;
  EXPECT_TRUE(Tensor().empty());
  EXPECT_EQ(Tensor().shape(), Shape{0});
  EXPECT_TRUE(ctx.zeros({3, 0}, DType::kF32).empty());
  EXPECT_EQ(ctx.zeros({}, DType::kI64).numel(), 1);
}

TEST(Tensor, CopyAndSliceAndReshapeShareMemory) {
  TestContext ctx;
  const Tensor t = counting(ctx, {3, 2});
  const Tensor rows = t.slice(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
  EXPECT_THAT(to_f64(ctx, rows), ElementsAre(2, 3, 4, 5));
  EXPECT_FALSE(rows.same_memory(t));
  EXPECT_TRUE(rows.same_memory(t.slice(1, 2)));

  const Tensor flat = rows.reshape({4});
  EXPECT_TRUE(flat.same_memory(rows));
  testing::fill(ctx, 7, flat.slice(0, 1));
  const Tensor copy = t;
  EXPECT_TRUE(copy.same_memory(t));
  EXPECT_THAT(to_f64(ctx, copy), ElementsAre(0, 1, 7, 3, 4, 5));
}

TEST(Tensor, EmptySliceIsAllowed) {
  TestContext ctx;
  EXPECT_EQ(counting(ctx, {3, 2}).slice(3, 3).shape(), (Shape{0, 2}));
  EXPECT_EQ(Tensor().slice(0, 0).shape(), Shape{0});
}

TEST(Tensor, MistakesNameWhatIsWrong) {
  TestContext ctx;
  const Tensor t = counting(ctx, {4, 7});
  EXPECT_THAT(
      [&] { t.slice(3, 5); },
      throws<InvalidArgument>("slice [3,5) of a tensor of shape [4,7]"));
  EXPECT_THROW(t.slice(-1, 2), InvalidArgument);
  EXPECT_THROW(t.slice(2, 1), InvalidArgument);
  EXPECT_THROW(t.reshape({5, 7}), InvalidArgument);
  EXPECT_THAT(
      [&] {
        require_shape("y", t, {4, 8});
      },
      throws<InvalidArgument>("y: shape [4,7], expected [4,8]"));
  EXPECT_THAT([&] { require_same_dtype("y", t, ctx.zeros({1}, DType::kF64)); },
              throws<InvalidArgument>("y: dtype f32, expected f64"));
  EXPECT_NO_THROW(require_shape("y", t, {4, 7}));
}

TEST(Tensor, DispatchGivesTheElementType) {
  const auto size = [](DType dtype) {
    std::size_t bytes = 0;
    dispatch(dtype, [&](auto zero) { bytes = sizeof(zero); });
    return bytes;
  };
  EXPECT_EQ(size(DType::kF32), 4u);
  EXPECT_EQ(size(DType::kF64), 8u);
  EXPECT_THAT([&] { size(DType::kI64); },
              throws<InvalidArgument>("dtype: i64, expected f32 or f64"));
}

TEST(Tensor, DispatchOfWhatIsStoredKnowsBf16) {
  const auto size = [](DType dtype) {
    int64_t bytes = 0;
    dispatch_stored(dtype, [&](auto zero) { bytes = sizeof(zero); });
    return bytes;
  };
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
    EXPECT_EQ(size(dtype), size_of(dtype));
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_EQ(wide(DType::kBF16), DType::kF32);
  EXPECT_EQ(wide(DType::kF64), DType::kF64);
  EXPECT_EQ(dtype_named("f16"), std::nullopt);
  EXPECT_THAT([&] { size(DType::kI64); },
              throws<InvalidArgument>("dtype: i64, expected f32, f64 or bf16"));
}

TEST(Context, ZerosClearsMemoryThatIsUsedAgain) {
  Context ctx;  // of the host: a device's pool may keep nothing
  counting(ctx, {100});
  const int64_t held = ctx.pool().held_bytes();
  const Tensor t = ctx.zeros({100}, DType::kF32);
  EXPECT_EQ(ctx.pool().held_bytes(), held);
  EXPECT_THAT(to_f64(ctx, t), ::testing::Each(0));
}

TEST(Context, TensorOutlivesItsContext) {
  auto first = std::make_unique<Context>();
  const Tensor t = counting(*first, {4});
  first.reset();
  const TransportBytes bytes(t);
  std::vector<float> values(4, -1);
  std::memcpy(values.data(), bytes.get().data(), bytes.get().size());
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3));
}

TEST(Context, DevicesThatAreNotThereAreRefused) {
  EXPECT_THAT(
      [] { Context ctx(Device{.kind = Device::Kind::kCuda, .index = 999}); },
      throws<InvalidArgument>(::testing::StartsWith("device: cuda:999, ")));
  EXPECT_EQ(to_string(Context().device()), "cpu");
}

TEST(Device, HasAName) {
  for (const char* name : {"cpu", "cuda:0", "cuda:12"}) {
    EXPECT_EQ(to_string(device_named(name).value()), name);
  }
  EXPECT_EQ(device_named("cuda"), device_named("cuda:0"));
  for (const char* name : {"", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:1x",
                           "cuda:-1", "cuda: 1", "cuda:99999999999"}) {
    EXPECT_EQ(device_named(name), std::nullopt) << name;
  }
}

TEST(MemoryPool, MemoryIsAligned) {
  MemoryPool pool;
  for (const int64_t bytes : {0, 1, 28, 256, 4000}) {
    const auto block = pool.allocate(bytes, MemoryUse::kScratch);
    EXPECT_EQ(
        reinterpret_cast<std::uintptr_t>(block.get()) % MemoryPool::kAlignment,
        0u);
  }
}

TEST(MemoryPool, GivesABlockOfTheSameSizeAgain) {
  MemoryPool pool;
  const void* first = pool.allocate(1000, MemoryUse::kScratch).get();
  // Given back already; 1001 rounds up to the same 1024 bytes.
  const auto second = pool.allocate(1001, MemoryUse::kActivations);
  EXPECT_EQ(second.get(), first);
  const auto third = pool.allocate(1000, MemoryUse::kScratch);
  EXPECT_NE(third.get(), first);
}

TEST(MemoryPool, GivesKeptBlocksBackBeforeItRefuses) {
  MemoryPool pool;
  const auto kept = pool.allocate(3 << 20, MemoryUse::kBorders);
  pool.allocate(1 << 20, MemoryUse::kScratch);
  EXPECT_EQ(pool.held_bytes(), 4 << 20);
  EXPECT_THAT(
      [&] { pool.allocate(int64_t{1} << 60, MemoryUse::kActivations); },
      throws<OutOfMemory>(
          "out of memory: 1073741824.00 GiB more for activations; held: "
          "parameters 0.0 MiB, activations 0.0 MiB, borders 3.0 MiB, ids 0.0 "
          "MiB, scratch "
          "0.0 MiB"));
  EXPECT_EQ(pool.held_bytes(), 3 << 20);
  EXPECT_EQ(pool.current_bytes(MemoryUse::kActivations), 0);
}

TEST(MemoryPool, AccountsEachUseOnItsOwn) {
  MemoryPool pool;
  EXPECT_EQ(pool.peak_bytes(MemoryUse::kBorders), 0);
  const auto kept = pool.allocate(64, MemoryUse::kActivations);
  {
    const auto a = pool.allocate(100, MemoryUse::kBorders);
    const auto b = pool.allocate(1, MemoryUse::kBorders);
    EXPECT_EQ(pool.current_bytes(MemoryUse::kBorders), 128 + 64);
  }
  EXPECT_EQ(pool.current_bytes(MemoryUse::kBorders), 0);
  EXPECT_EQ(pool.peak_bytes(MemoryUse::kBorders), 128 + 64);
  EXPECT_EQ(pool.current_bytes(MemoryUse::kActivations), 64);

  pool.reset_peaks();
  EXPECT_EQ(pool.peak_bytes(MemoryUse::kBorders), 0);
  EXPECT_EQ(pool.peak_bytes(MemoryUse::kActivations), 64);
}

TEST(MemoryPool, BlocksThatLieFreeAreHeldAndServeSmallerRequests) {
  MemoryPool pool;
  EXPECT_EQ(pool.held_bytes(), 0);
  const void* first = pool.allocate(1280, MemoryUse::kScratch).get();
  EXPECT_EQ(pool.current_bytes(MemoryUse::kScratch), 0);
  EXPECT_EQ(pool.held_bytes(), 1280);
  {
    const auto smaller = pool.allocate(1024, MemoryUse::kBorders);
    EXPECT_EQ(smaller.get(), first);
    EXPECT_EQ(pool.current_bytes(MemoryUse::kBorders), 1024);
    EXPECT_EQ(pool.held_bytes(), 1280);
  }
  const auto much_smaller = pool.allocate(960, MemoryUse::kBorders);
  EXPECT_NE(much_smaller.get(), first);
  EXPECT_EQ(pool.held_bytes(), 1280 + 960);
  const auto whole = pool.allocate(1280, MemoryUse::kScratch);
  EXPECT_EQ(whole.get(), first);
}

TEST(MemoryPool, CountsWithoutTaking) {
  Context ctx(MemoryPool::Mode::kCount);
  {
    const Tensor huge = ctx.allocate({int64_t{1} << 50}, DType::kF32);
    EXPECT_EQ(ctx.pool().current_bytes(MemoryUse::kScratch), int64_t{1} << 52);
  }
  EXPECT_EQ(ctx.pool().current_bytes(MemoryUse::kScratch), 0);
  EXPECT_EQ(ctx.pool().peak_bytes(MemoryUse::kScratch), int64_t{1} << 52);
  EXPECT_EQ(ctx.pool().held_bytes(), 0);
}

TEST(MemoryPool, BlockGivenBackIsAccountedUnderItsNewUse) {
  MemoryPool pool;
  pool.allocate(64, MemoryUse::kScratch);
  const auto again = pool.allocate(64, MemoryUse::kParameters);
  EXPECT_EQ(pool.current_bytes(MemoryUse::kScratch), 0);
  EXPECT_EQ(pool.current_bytes(MemoryUse::kParameters), 64);
}

}  // namespace
}  // namespace timepipe
