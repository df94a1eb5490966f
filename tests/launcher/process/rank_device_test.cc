#include "launcher/process/rank_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/device_facts.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"
#include "tests/support/throws.h"

namespace timepipe::testing {
namespace {

constexpr auto kCuda = Device::Kind::kCuda;

TEST(RankDevice, IsTheOneThatIsNamed) {
  run_thread_ranks(3, [](Communicator& world) {
    EXPECT_EQ(device_of_rank(world, "cpu"), Device{});
    EXPECT_EQ(device_of_rank(world, "cuda:3"),
              (Device{.kind = kCuda, .index = 3}));
    EXPECT_THAT(
        [&] { device_of_rank(world, "gpu"); },
        throws<InvalidArgument>("device: gpu, expected cpu, cuda or cuda:N"));
  });
}

TEST(RankDevice, OfAHostIsOneAfterTheOther) {
  const int devices = std::max(num_cuda_devices(), 1);
  run_thread_ranks(5, [&](Communicator& world) {
    EXPECT_EQ(device_of_rank(world, "cuda"),
              (Device{.kind = kCuda, .index = world.rank() % devices}));
  });
}

TEST(RankDevice, ThatIsSharedIsTold) {
  run_thread_ranks(2, [&](Communicator& world) {
    const TestContext ctx;
    const JobDevices said = describe_devices(world, ctx.device());
    EXPECT_THAT(said.line, ::testing::StartsWith(to_string(ctx.device())));
    EXPECT_EQ(said.warning, ctx.device() == Device{}
                                ? ""
                                : "2 ranks share the device of rank 0: they "
                                  "take turns on it");
  });
}

}  // namespace
}  // namespace timepipe::testing
