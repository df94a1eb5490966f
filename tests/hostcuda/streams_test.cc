#include <gtest/gtest.h>
#include <hostcuda/launch.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/hostcuda/modes.h"

namespace hostcuda {
namespace {

using namespace std::chrono_literals;

constexpr GridShape kOneThread{dim3(1), dim3(1), 0};

cudaEvent_t new_event(unsigned flags = cudaEventDisableTiming) {
  cudaEvent_t event = nullptr;
  EXPECT_EQ(cudaEventCreateWithFlags(&event, flags), cudaSuccess);
  return event;
}

class Streams : public Modes {
 protected:
  void SetUp() override {
    Modes::SetUp();
    other_ = new_stream();
    event_ = new_event();
  }
  void TearDown() override {
    EXPECT_EQ(cudaEventDestroy(event_), cudaSuccess);
    EXPECT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(other_), cudaSuccess);
    Modes::TearDown();
  }
  bool asynchronous() const { return GetParam() == std::string("threads"); }

  cudaStream_t other_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(EachMode, Streams, kAllModes, mode_name);

TEST_P(Streams, WorkOfAStreamRunsInItsOrder) {
  Array<int> log(Array<int>::kPinned, 200);
  int* end = log.data();
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(launch("append", kOneThread, stream_, [end, i] { end[i] = i; }),
              cudaSuccess);
    if (i > 0) {
      EXPECT_EQ(launch("check", kOneThread, stream_,
                       [end, i] { EXPECT_EQ(end[i - 1], i - 1); }),
                cudaSuccess);
    }
  }
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(log[i], i);
}

// Two streams hand one value over, there and back, as lanes of the product do.
TEST_P(Streams, EventsOrderTwoStreams) {
  Array<int> value(Array<int>::kDevice, 1), result(Array<int>::kPinned, 1);
  int* v = value.data();
  EXPECT_EQ(cudaMemsetAsync(v, 0, sizeof(int), stream_), cudaSuccess);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(launch("add", kOneThread, stream_, [v] { *v += 1; }),
              cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event_, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(other_, event_, 0), cudaSuccess);
    EXPECT_EQ(launch("double", kOneThread, other_, [v] { *v = *v * 2 % 1009; }),
              cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event_, other_), cudaSuccess);
    EXPECT_EQ(cudaStreamWaitEvent(stream_, event_, 0), cudaSuccess);
  }
  copy(result.data(), v, 1, stream_);
  int expected = 0;
  for (int i = 0; i < 50; ++i) expected = (expected + 1) * 2 % 1009;
  EXPECT_EQ(result[0], expected);
}

// A wait means the record before it, not one that comes later.
TEST_P(Streams, AWaitCapturesTheRecord) {
  Array<int> values(Array<int>::kPinned, 2);
  int* v = values.data();
  v[0] = v[1] = 0;
  EXPECT_EQ(launch("one", kOneThread, stream_, [v] { v[0] = 1; }), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event_, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(other_, event_, 0), cudaSuccess);
  EXPECT_EQ(launch("two", kOneThread, other_, [v] { v[1] = v[0] + 1; }),
            cudaSuccess);
  // A wait for this record would never end: it comes after the other stream.
  EXPECT_EQ(cudaEventRecord(event_, other_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event_, 0), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaSuccess);
  EXPECT_EQ(v[1], 2);
}

TEST_P(Streams, AnEventThatWasNotRecordedHoldsNobody) {
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
  EXPECT_EQ(cudaEventSynchronize(event_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event_, 0), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
}

TEST_P(Streams, QueriesTellWhetherWorkIsDone) {
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  std::atomic<bool> goes = !asynchronous();
  EXPECT_EQ(launch("wait", kOneThread, stream_, [&goes] { goes.wait(false); }),
            cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event_, stream_), cudaSuccess);
  const cudaError_t pending = asynchronous() ? cudaErrorNotReady : cudaSuccess;
  EXPECT_EQ(cudaStreamQuery(stream_), pending);
  EXPECT_EQ(cudaEventQuery(event_), pending);
  EXPECT_EQ(cudaGetLastError(), pending);
  goes = true;
  goes.notify_all();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event_), cudaSuccess);
}

TEST_P(Streams, EventsMeasureTime) {
  const cudaEvent_t start = new_event(cudaEventDefault);
  const cudaEvent_t end = new_event(cudaEventDefault);
  float ms = -1;
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, end),
            cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(start, stream_), cudaSuccess);
  std::atomic<bool> goes = !asynchronous();
  EXPECT_EQ(launch("sleep", kOneThread, stream_,
                   [&goes] {
                     goes.wait(false);
                     std::this_thread::sleep_for(20ms);
                   }),
            cudaSuccess);
  EXPECT_EQ(cudaEventRecord(end, stream_), cudaSuccess);
  if (asynchronous()) {
    EXPECT_EQ(cudaEventElapsedTime(&ms, start, end), cudaErrorNotReady);
  }
  goes = true;
  goes.notify_all();
  EXPECT_EQ(cudaEventSynchronize(end), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, end), cudaSuccess);
  EXPECT_GE(ms, 20);
  EXPECT_EQ(cudaEventRecord(event_, stream_), cudaSuccess);  // Without time.
  EXPECT_EQ(cudaEventElapsedTime(&ms, start, event_),
            cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(start), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(end), cudaSuccess);
  cudaGetLastError();
}

// The stream and the event may go while their work is still to run.
TEST_P(Streams, DestroyedStreamsFinishTheirWork) {
  Array<int> value(Array<int>::kPinned, 1);
  int* v = value.data();
  *v = 0;
  const cudaStream_t brief = new_stream();
  const cudaEvent_t event = new_event();
  EXPECT_EQ(launch("write", kOneThread, brief,
                   [v] {
                     std::this_thread::sleep_for(10ms);
                     *v = 7;
                   }),
            cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, brief), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(brief), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(*v, 7);
}

TEST_P(Streams, StaleHandlesAreRefused) {
  const cudaError_t invalid = cudaErrorInvalidResourceHandle;
  const cudaStream_t stream = new_stream();
  const cudaEvent_t event = new_event();
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamDestroy(stream), invalid);
  EXPECT_EQ(cudaEventDestroy(event), invalid);
  EXPECT_EQ(cudaStreamSynchronize(stream), invalid);
  EXPECT_EQ(cudaEventRecord(event_, stream), invalid);
  EXPECT_EQ(cudaEventRecord(event, stream_), invalid);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), invalid);
  EXPECT_EQ(cudaEventQuery(event), invalid);
  EXPECT_EQ(launch("never", kOneThread, stream, [] {}), invalid);
  EXPECT_EQ(cudaGetLastError(), invalid);
}

TEST_P(Streams, TheDefaultStreamIsRefused) {
  const cudaError_t invalid = cudaErrorInvalidResourceHandle;
  Array<char> device(Array<char>::kDevice, 8);
  void* memory = nullptr;
  for (const cudaStream_t stream : {static_cast<cudaStream_t>(nullptr),
                                    cudaStreamLegacy, cudaStreamPerThread}) {
    EXPECT_EQ(launch("never", kOneThread, stream, [] {}), invalid);
    EXPECT_EQ(cudaMemsetAsync(device.data(), 0, 8, stream), invalid);
    EXPECT_EQ(cudaMallocAsync(&memory, 8, stream), invalid);
    EXPECT_EQ(cudaFreeAsync(device.data(), stream), invalid);
    EXPECT_EQ(cudaEventRecord(event_, stream), invalid);
    EXPECT_EQ(cudaStreamSynchronize(stream), invalid);
  }
  cudaGetLastError();
}

// Ranks are threads that use streams of their own at the same time.
TEST_P(Streams, HostThreadsUseStreamsAtOnce) {
  constexpr int kThreads = 4, kRounds = 200;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < kThreads; ++rank) {
    threads.emplace_back([rank] {
      const cudaStream_t stream = new_stream();
      const cudaStream_t side = new_stream();
      const cudaEvent_t event = new_event();
      Array<int64_t> result(Array<int64_t>::kPinned, 1);
      int64_t* sum = nullptr;
      EXPECT_EQ(cudaMallocAsync(reinterpret_cast<void**>(&sum), 8, stream),
                cudaSuccess);
      EXPECT_EQ(cudaMemsetAsync(sum, 0, 8, stream), cudaSuccess);
      for (int i = 0; i < kRounds; ++i) {
        void* brief = nullptr;
        EXPECT_EQ(cudaMallocAsync(&brief, 1 + 64 * i, side), cudaSuccess);
        EXPECT_EQ(launch("add", kOneThread, stream,
                         [sum, rank, i] { *sum += rank * i; }),
                  cudaSuccess);
        EXPECT_EQ(cudaEventRecord(event, stream), cudaSuccess);
        EXPECT_EQ(cudaStreamWaitEvent(side, event, 0), cudaSuccess);
        EXPECT_EQ(launch("negate", kOneThread, side, [sum] { *sum = -*sum; }),
                  cudaSuccess);
        EXPECT_EQ(cudaFreeAsync(brief, side), cudaSuccess);
        EXPECT_EQ(cudaEventRecord(event, side), cudaSuccess);
        EXPECT_EQ(cudaStreamWaitEvent(stream, event, 0), cudaSuccess);
      }
      copy(result.data(), sum, 1, stream);
      int64_t expected = 0;
      for (int i = 0; i < kRounds; ++i) expected = -(expected + rank * i);
      EXPECT_EQ(result[0], expected);
      EXPECT_EQ(cudaFreeAsync(sum, stream), cudaSuccess);
      EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
      EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(side), cudaSuccess);
      EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Without a wait the second stream's value comes first under some seed.
TEST(StreamsOfThreads, AMissingWaitIsSeen) {
  const Variable mode("TIMEPIPE_HOSTCUDA_STREAMS", "threads");
  int num_wrong = 0;
  for (int seed = 0; seed < 40 && num_wrong == 0; ++seed) {
    const Variable seeded("TIMEPIPE_HOSTCUDA_SEED", std::to_string(seed));
    const cudaStream_t first = new_stream(), second = new_stream();
    {
      Array<int> value(Array<int>::kDevice, 1), result(Array<int>::kPinned, 1);
      // One thread of the host at a time looks at the value: no undefined
      // behaviour but that of the order.
      std::atomic_ref<int> shared(*value.data());
      int* read = result.data();
      EXPECT_EQ(
          launch("write", kOneThread, first, [shared] { shared.store(1); }),
          cudaSuccess);
      EXPECT_EQ(launch("read", kOneThread, second,
                       [shared, read] { *read = shared.load(); }),
                cudaSuccess);
      EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      num_wrong += result[0] != 1;
    }
    EXPECT_EQ(cudaStreamDestroy(first), cudaSuccess);
    EXPECT_EQ(cudaStreamDestroy(second), cudaSuccess);
  }
  EXPECT_GT(num_wrong, 0);
}

}  // namespace
}  // namespace hostcuda
