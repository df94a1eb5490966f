#include <gtest/gtest.h>
#include <hostcuda/launch.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostcuda/modes.h"

namespace hostcuda {
namespace {

constexpr GridShape kOneThread{dim3(1), dim3(1), 0};

class Memory : public Modes {
 protected:
  // What device memory holds.
  std::vector<float> read(const float* device, std::size_t size) {
    Array<float> pinned(Array<float>::kPinned, size);
    copy(pinned.data(), device, size, stream_);
    return {pinned.data(), pinned.data() + size};
  }
};

INSTANTIATE_TEST_SUITE_P(EachMode, Memory, kAllModes, mode_name);

TEST_P(Memory, NewMemoryIsNaN) {
  for (const std::size_t size : {1, 1000, 1 << 18}) {
    float* memory = nullptr;
    ASSERT_EQ(cudaMallocAsync(reinterpret_cast<void**>(&memory),
                              size * sizeof(float), stream_),
              cudaSuccess);
    EXPECT_EQ(reinterpret_cast<std::size_t>(memory) % 256, 0u);
    for (const float value : read(memory, size)) {
      ASSERT_TRUE(std::isnan(value));
    }
    EXPECT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
  }
  const std::size_t size = 1 << 20;
  Array<float> large(Array<float>::kDevice, size);
  const std::vector<float> values = read(large.data(), size);
  EXPECT_TRUE(std::isnan(values.front()));
  EXPECT_TRUE(std::isnan(values.back()));
  Array<float> pinned(Array<float>::kPinned, 100);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_TRUE(std::isnan(pinned[i]));
}

TEST_P(Memory, NoBytesAreNoBlock) {
  void* memory = &memory;
  EXPECT_EQ(cudaMalloc(&memory, 0), cudaSuccess);
  EXPECT_EQ(memory, nullptr);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(nullptr), cudaSuccess);
  EXPECT_EQ(cudaMalloc(nullptr, 8), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
}

TEST_P(Memory, CopiesGoWhereTheySay) {
  const std::size_t size = 300;
  Array<float> from(Array<float>::kPinned, size);
  Array<float> to(Array<float>::kPinned, size);
  Array<float> a(Array<float>::kDevice, size), b(Array<float>::kDevice, size);
  for (std::size_t i = 0; i < size; ++i) from[i] = i;
  EXPECT_EQ(cudaMemcpyAsync(a.data(), from.data(), a.bytes(),
                            cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(b.data(), a.data(), a.bytes(),
                            cudaMemcpyDeviceToDevice, stream_),
            cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(b.data() + 10, 0, 40, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(to.data(), b.data(), a.bytes(),
                            cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  for (std::size_t i = 0; i < size; ++i) {
    EXPECT_EQ(to[i], i >= 10 && i < 20 ? 0.f : static_cast<float>(i));
  }
}

TEST_P(Memory, RefusesCopiesThatAreMisuses) {
  const auto refused = [&](void* to, const void* from, std::size_t bytes,
                           cudaMemcpyKind kind) {
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, stream_);
    EXPECT_EQ(cudaGetLastError(), error);
    return error == cudaErrorInvalidValue;
  };
  Array<char> device(Array<char>::kDevice, 100);
  Array<char> other(Array<char>::kDevice, 100);
  Array<char> pinned(Array<char>::kPinned, 100);
  std::vector<char> pageable(100);
  char* d = device.data();
  // Pageable memory.
  EXPECT_TRUE(refused(d, pageable.data(), 100, cudaMemcpyHostToDevice));
  EXPECT_TRUE(refused(pageable.data(), d, 100, cudaMemcpyDeviceToHost));
  EXPECT_TRUE(refused(pageable.data(), d, 100, cudaMemcpyDefault));
  // Another direction.
  EXPECT_TRUE(refused(d, pinned.data(), 100, cudaMemcpyDeviceToHost));
  EXPECT_TRUE(refused(pinned.data(), d, 100, cudaMemcpyDeviceToDevice));
  EXPECT_TRUE(refused(d, other.data(), 100, cudaMemcpyHostToDevice));
  // Beyond the end of either.
  EXPECT_TRUE(refused(d + 1, pinned.data(), 100, cudaMemcpyHostToDevice));
  EXPECT_TRUE(refused(d, pinned.data() + 50, 51, cudaMemcpyHostToDevice));
  EXPECT_TRUE(refused(d - 1, pinned.data(), 2, cudaMemcpyHostToDevice));
  // Onto itself.
  EXPECT_TRUE(refused(d + 10, d, 20, cudaMemcpyDeviceToDevice));
  EXPECT_FALSE(refused(d + 20, d, 20, cudaMemcpyDeviceToDevice));
  EXPECT_FALSE(refused(d, pinned.data(), 100, cudaMemcpyHostToDevice));
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
}

TEST_P(Memory, RefusesFillsThatAreMisuses) {
  Array<char> device(Array<char>::kDevice, 100);
  Array<char> pinned(Array<char>::kPinned, 100);
  EXPECT_EQ(cudaMemsetAsync(device.data(), 0, 101, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(pinned.data(), 0, 100, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(nullptr, 0, 100, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemsetAsync(device.data(), 0, 100, stream_), cudaSuccess);
  cudaGetLastError();
}

TEST_P(Memory, RefusesToFreeWhatIsNoBlock) {
  Array<char> device(Array<char>::kDevice, 100);
  Array<char> pinned(Array<char>::kPinned, 100);
  EXPECT_EQ(cudaFree(device.data() + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(pinned.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(device.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeAsync(pinned.data(), stream_), cudaErrorInvalidValue);
  void* twice = nullptr;
  EXPECT_EQ(cudaMalloc(&twice, 8), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(twice, stream_), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(twice, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(twice), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST_P(Memory, FreedMemoryIsNotAcceptedAnyMore) {
  Array<char> pinned(Array<char>::kPinned, 8);
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 8), cudaSuccess);
  ASSERT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemsetAsync(memory, 0, 8, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(pinned.data(), memory, 8, cudaMemcpyDeviceToHost,
                            stream_),
            cudaErrorInvalidValue);
  cudaGetLastError();
}

// What was enqueued before the call still reads the values.
TEST_P(Memory, FreeAsyncFreesInStreamOrder) {
  Array<float> pinned(Array<float>::kPinned, 1000);
  for (int round = 0; round < 20; ++round) {
    float* memory = nullptr;
    ASSERT_EQ(cudaMallocAsync(reinterpret_cast<void**>(&memory), 4000, stream_),
              cudaSuccess);
    EXPECT_EQ(launch("fill", kOneThread, stream_,
                     [memory, round] {
                       for (int i = 0; i < 1000; ++i) memory[i] = round;
                     }),
              cudaSuccess);
    EXPECT_EQ(cudaMemcpyAsync(pinned.data(), memory, 4000,
                              cudaMemcpyDeviceToHost, stream_),
              cudaSuccess);
    EXPECT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(pinned[i], round);
  }
}

TEST_P(Memory, ADeviceHoldsNoMoreThanItsMemory) {
  const Variable limit("TIMEPIPE_HOSTCUDA_MEMORY", "1000000");
  std::size_t free = 0, total = 0;
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 1000000u);
  EXPECT_EQ(total, 1000000u);
  void *first = nullptr, *second = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 600000), cudaSuccess);
  EXPECT_EQ(cudaMalloc(&second, 400001), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMallocAsync(&second, 400001, stream_),
            cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaMalloc(&second, ~std::size_t{0}), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(second, nullptr);
  EXPECT_EQ(cudaMalloc(&second, 400000), cudaSuccess);
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 0u);
  EXPECT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, 600000u);
  EXPECT_EQ(cudaFreeAsync(second, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
}

// Blocks of many sizes, freed in another order, never share a byte.
TEST_P(Memory, BlocksAreApart) {
  struct Held {
    char* begin;
    std::size_t size;
    char value;
  };
  std::vector<Held> held;
  uint32_t random = 1;
  for (int i = 0; i < 600; ++i) {
    random = random * 1664525u + 1013904223u;
    if (held.size() > 40) {
      std::swap(held[(random >> 8) % held.size()], held.back());
      const Held last = held.back();
      held.pop_back();
      Array<char> pinned(Array<char>::kPinned, last.size);
      copy(pinned.data(), last.begin, last.size, stream_);
      for (std::size_t j = 0; j < last.size; ++j) {
        ASSERT_EQ(pinned[j], last.value);
      }
      ASSERT_EQ(cudaFreeAsync(last.begin, stream_), cudaSuccess);
    }
    void* memory = nullptr;
    const std::size_t size = 1 + (random >> 16) % 3000;
    ASSERT_EQ(cudaMalloc(&memory, size), cudaSuccess);
    held.push_back({static_cast<char*>(memory), size, static_cast<char>(i)});
    ASSERT_EQ(cudaMemsetAsync(memory, i, size, stream_), cudaSuccess);
  }
  for (const Held& block : held) EXPECT_EQ(cudaFree(block.begin), cudaSuccess);
}

TEST(MemoryDeathTest, InProtectedModeTheHostCannotTouchDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Variable mode("TIMEPIPE_HOSTCUDA_STREAMS", "protected");
  const cudaStream_t stream = new_stream();
  {
    Array<int> device(Array<int>::kDevice, 10);
    volatile int* value = device.data();
    EXPECT_EQ(cudaMemsetAsync(device.data(), 0, 40, stream), cudaSuccess);
    EXPECT_DEATH(*value = 1, "");
    EXPECT_DEATH(
        {
          const int read = *value;
          (void)read;
        },
        "");
    // While another thread's kernel runs, it is open, and closed again after.
    std::thread([&] {
      const cudaStream_t other = new_stream();
      EXPECT_EQ(launch("write", kOneThread, other, [value] { *value = 2; }),
                cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(other), cudaSuccess);
    }).join();
    EXPECT_DEATH(*value = 1, "");
    EXPECT_EQ(
        launch("check", kOneThread, stream, [value] { EXPECT_EQ(*value, 2); }),
        cudaSuccess);
  }
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

}  // namespace
}  // namespace hostcuda
