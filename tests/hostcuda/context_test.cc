// A context on a device: its pool, its stream, what it refuses.

#include "runtime/context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <vector>

#include "runtime/transfer.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::refuses;
using testing::throws;

constexpr Device kDevice{.kind = Device::Kind::kCuda, .index = 0};

// A pool that keeps its blocks, whatever the tests were started with.
class DevicePool : public ::testing::Test {
 protected:
  void SetUp() override { unsetenv("TIMEPIPE_POOL"); }
};

TEST_F(DevicePool, GivesABlockOfTheSameSizeAgain) {
  Context ctx(kDevice);
  Tensor first = ctx.zeros({1000}, DType::kF32);
  const Tensor same = first;
  first = ctx.zeros({1000}, DType::kF32);
  EXPECT_FALSE(first.same_memory(same));
  const int64_t held = ctx.pool().held_bytes();
  first = {};
  const Tensor again = ctx.allocate({1000}, DType::kF32);
  EXPECT_EQ(ctx.pool().held_bytes(), held);
}

TEST_F(DevicePool, ZerosClearsMemoryThatIsUsedAgain) {
  Context ctx(kDevice);
  const std::vector<float> ones(1000, 1);
  upload(ctx, std::span(ones), ctx.allocate({1000}, DType::kF32));
  const int64_t held = ctx.pool().held_bytes();
  std::vector<float> back(1000, 1);
  download(ctx, ctx.zeros({1000}, DType::kF32), std::span(back));
  EXPECT_EQ(ctx.pool().held_bytes(), held);
  EXPECT_THAT(back, ::testing::Each(0));
}

TEST_F(DevicePool, KeepsNothingWhenItPasses) {
  setenv("TIMEPIPE_POOL", "pass", 1);
  Context ctx(kDevice);
  ctx.zeros({1000}, DType::kF32);
  EXPECT_EQ(ctx.pool().held_bytes(), 0);
}

TEST_F(DevicePool, ShortageSaysWhatIsHeld) {
  Context ctx(kDevice);
  const Tensor held = ctx.zeros({1 << 20}, DType::kF32, MemoryUse::kBorders);
  EXPECT_THAT([&] { ctx.allocate({int64_t{1} << 50}, DType::kF32); },
              throws<OutOfMemory>(HasSubstr("borders 4.0 MiB")));
  EXPECT_EQ(ctx.zeros({4}, DType::kF32).numel(), 4);  // goes on
}

TEST_F(DevicePool, TensorsOutliveTheirContext) {
  Tensor tensor;
  {
    Context ctx(kDevice);
    tensor = ctx.zeros({1000}, DType::kF32);
  }
  EXPECT_EQ(tensor.numel(), 1000);
}

TEST(DeviceContext, LargeTransfersGoInPieces) {
  Context ctx(kDevice);
  std::vector<int64_t> numbers(3'000'001);  // 24 MB
  std::iota(numbers.begin(), numbers.end(), 0);
  Tensor there = ctx.zeros({std::ssize(numbers)}, DType::kI64);
  upload(ctx, std::span<const int64_t>(numbers), there);
  std::vector<int64_t> back(numbers.size());
  download(ctx, there, std::span(back));
  EXPECT_EQ(back, numbers);
}

TEST(DeviceContext, PinnedMemoryIsKeptForTheNext) {
  Context ctx(kDevice);
  const void* first = ctx.pinned({100}, DType::kF32).bytes().data();
  EXPECT_EQ(ctx.pinned({100}, DType::kF32).bytes().data(), first);
}

TEST(DeviceContext, RefusesTensorsOfOtherDevices) {
  Context ctx(kDevice), host;
  Tensor here = host.zeros({4}, DType::kF32);
  Tensor there = ctx.zeros({4}, DType::kF32);
  EXPECT_THAT([&] { copy(ctx, here, there); },
              refuses("tensor of cpu, expected one of cuda:0"));
  EXPECT_THAT([&] { clear(host, there); },
              refuses("tensor of cuda:0, expected one of cpu"));
}

TEST(DeviceContext, RefusesADeviceThatIsNotThere) {
  EXPECT_THAT(
      [] {
        Context ctx(Device{Device::Kind::kCuda, 7});
      },
      refuses("device: cuda:7, expected one of the 1 visible, from cuda:0 on"));
}

TEST(DeviceContext, APlanNeedsNoDevice) {
  Context plan(Device{Device::Kind::kCuda, 7}, MemoryPool::Mode::kCount);
  const Tensor t = plan.zeros({100}, DType::kF32, MemoryUse::kBatch);
  EXPECT_EQ(plan.pool().current_bytes(MemoryUse::kBatch), 448);
}

}  // namespace
}  // namespace timepipe
