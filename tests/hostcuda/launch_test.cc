#include <gtest/gtest.h>
#include <hostcuda/launch.h>
#include <hostcuda/registry.h>
#include <hostcuda/runtime_api.h>

#include <cstring>
#include <string>

#include "tests/hostcuda/modes.h"

namespace hostcuda {
namespace {

class Launch : public ::testing::Test {
 protected:
  void SetUp() override { stream_ = new_stream(); }
  void TearDown() override {
    EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
    cudaGetLastError();
  }
  cudaError_t start(dim3 blocks, dim3 threads, std::size_t shared = 0) {
    return launch("shape", {blocks, threads, shared}, stream_, [] {});
  }

  cudaStream_t stream_ = nullptr;
};

TEST_F(Launch, ShapesBeyondADevicesLimitsAreRefused) {
  const cudaError_t invalid = cudaErrorInvalidConfiguration;
  EXPECT_EQ(start(1, 2048), invalid);
  EXPECT_EQ(start(1, 1025), invalid);
  EXPECT_EQ(start(1, dim3(32, 33)), invalid);
  EXPECT_EQ(start(1, dim3(1, 1, 65)), invalid);
  EXPECT_EQ(start(0, 32), invalid);
  EXPECT_EQ(start(1, 0), invalid);
  EXPECT_EQ(start(dim3(1, 0), 32), invalid);
  EXPECT_EQ(start(0x80000000u, 1), invalid);
  EXPECT_EQ(start(dim3(1, 65536), 1), invalid);
  EXPECT_EQ(start(dim3(1, 1, 65536), 1), invalid);
  EXPECT_EQ(start(1, 1, (227 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(start(1, 1024, 227 << 10), cudaSuccess);
  EXPECT_EQ(start(dim3(1, 2, 3), dim3(2, 3, 4)), cudaSuccess);
}

TEST_F(Launch, SharedMemoryIsThatOfTheCapability) {
  const Variable capability("TIMEPIPE_HOSTCUDA_CAPABILITY", "80");
  EXPECT_EQ(start(1, 1, (163 << 10) + 1), cudaErrorInvalidValue);
  EXPECT_EQ(start(1, 1, 163 << 10), cudaSuccess);
}

TEST_F(Launch, LaunchesAreCountedAndRefusalsAreNot) {
  register_kernel("launch_test: later");
  EXPECT_EQ(launch_counts().at("launch_test: later"), 0);
  EXPECT_NE(launch_lines().find("0\tlaunch_test: later\n"), std::string::npos);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(launch("launch_test: thrice", {1, 1, 0}, stream_, [] {}),
              cudaSuccess);
  }
  EXPECT_EQ(launch("launch_test: thrice", {0, 1, 0}, stream_, [] {}),
            cudaErrorInvalidConfiguration);
  EXPECT_EQ(launch_counts().at("launch_test: thrice"), 3);
  EXPECT_NE(launch_lines().find("3\tlaunch_test: thrice\n"), std::string::npos);
  EXPECT_EQ(launch("launch_test: later", {1, 1, 0}, stream_, [] {}),
            cudaSuccess);
  EXPECT_EQ(launch_counts().at("launch_test: later"), 1);
}

TEST_F(Launch, AStreamOfAnotherDeviceIsRefused) {
  const Variable devices("TIMEPIPE_HOSTCUDA_DEVICES", "2");
  EXPECT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_EQ(start(1, 1), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(start(1, 1), cudaSuccess);
}

TEST(Device, TellsWhatItIs) {
  int count = 0, version = 0, value = 0;
  EXPECT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(cudaDriverGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, 13000);
  EXPECT_EQ(cudaRuntimeGetVersion(&version), cudaSuccess);
  EXPECT_EQ(version, CUDART_VERSION);
  cudaDeviceProp properties;
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_STREQ(properties.name, "host-CUDA");
  EXPECT_EQ(properties.major * 10 + properties.minor, 90);
  EXPECT_EQ(properties.sharedMemPerBlockOptin, std::size_t{227 << 10});
  EXPECT_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0),
            cudaSuccess);
  EXPECT_EQ(value, properties.multiProcessorCount);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaSetDevice(-1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(Device, SeveralDiffer) {
  const Variable devices("TIMEPIPE_HOSTCUDA_DEVICES", "2");
  cudaDeviceProp first, second;
  EXPECT_EQ(cudaGetDeviceProperties(&first, 0), cudaSuccess);
  EXPECT_EQ(cudaGetDeviceProperties(&second, 1), cudaSuccess);
  EXPECT_NE(std::memcmp(&first.uuid, &second.uuid, sizeof first.uuid), 0);
}

// What every call says on a machine that can't run the program.
void expect_unusable(cudaError_t error) {
  int value = 7;
  void* memory = nullptr;
  cudaStream_t stream = nullptr;
  EXPECT_EQ(cudaGetDeviceCount(&value), error);
  EXPECT_EQ(value, 0);
  EXPECT_EQ(cudaSetDevice(0), error);
  EXPECT_EQ(cudaMalloc(&memory, 8), error);
  EXPECT_EQ(cudaHostAlloc(&memory, 8, 0), error);
  EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), error);
  EXPECT_EQ(cudaDeviceSynchronize(), error);
  EXPECT_EQ(cudaGetLastError(), error);
}

TEST(Device, ThereMayBeNone) {
  const Variable devices("TIMEPIPE_HOSTCUDA_DEVICES", "0");
  expect_unusable(cudaErrorNoDevice);
}

TEST(Device, TheDriverMayBeMissingOrTooOld) {
  for (const char* version : {"0", "12090"}) {
    const Variable driver("TIMEPIPE_HOSTCUDA_DRIVER", version);
    expect_unusable(cudaErrorInsufficientDriver);
    int reported = -1;
    EXPECT_EQ(cudaDriverGetVersion(&reported), cudaSuccess);
    EXPECT_EQ(std::to_string(reported), version);
  }
}

TEST(Device, ErrorsHaveNamesAndTexts) {
  EXPECT_STREQ(cudaGetErrorName(cudaErrorMemoryAllocation),
               "cudaErrorMemoryAllocation");
  EXPECT_STREQ(cudaGetErrorString(cudaErrorMemoryAllocation), "out of memory");
  EXPECT_STREQ(cudaGetErrorName(static_cast<cudaError_t>(12345)),
               "unrecognized error code");
}

TEST(SettingsDeathTest, ValuesThatCannotBeReadEndTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(Variable("TIMEPIPE_HOSTCUDA_STREAMS", "fast"),
              ::testing::ExitedWithCode(1),
              "TIMEPIPE_HOSTCUDA_STREAMS is \"fast\"; expected inline");
  EXPECT_EXIT(Variable("TIMEPIPE_HOSTCUDA_MEMORY", "1G"),
              ::testing::ExitedWithCode(1), "whole number");
  EXPECT_EXIT(Variable("TIMEPIPE_HOSTCUDA_SEED", "-1"),
              ::testing::ExitedWithCode(1), "whole number");
}

}  // namespace
}  // namespace hostcuda
