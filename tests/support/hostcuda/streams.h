#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

namespace hostcuda {

using Work = std::function<void()>;

// A place in a stream: who waits for it comes after all work before it.
class Mark {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void reach();    // Called in stream order.
  bool reached();  // When true, the caller comes after it.
  void wait();
  Time time();  // When it was reached.

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false;
  Time time_;
};

// A task of the mode `threads`: its address carries the order from the caller
// who enqueued it.
struct Task {
  Work work;  // Empty: the stream ends.
};

}  // namespace hostcuda

// What a cudaStream_t points to.
struct CUstream_st {
  int device;
  bool has_thread;
  std::minstd_rand random;  // Of its delays.

  std::mutex running;  // Inline: one caller at a time runs the stream's work.

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::unique_ptr<hostcuda::Task>> tasks;
  int64_t num_enqueued = 0;
  int64_t num_finished = 0;
};

// What a cudaEvent_t points to.
struct CUevent_st {
  int device;
  bool timing;

  std::mutex mutex;
  std::shared_ptr<hostcuda::Mark> mark;  // Of the last record; null: none yet.
};

namespace hostcuda {

using Stream = std::shared_ptr<CUstream_st>;
using Event = std::shared_ptr<CUevent_st>;

Stream make_stream(int device);
// Its work still runs; the caller doesn't wait.
void end_stream(const Stream& stream);

// Null: no such stream or event.
Stream find_stream(cudaStream_t handle);
Event find_event(cudaEvent_t handle);
std::vector<Stream> streams_of(int device);

Event make_event(int device, bool timing);
bool forget_event(cudaEvent_t handle);

// Runs the work in stream order, with device memory open.
void enqueue(CUstream_st& stream, Work work);

void synchronize(CUstream_st& stream);
bool finished(CUstream_st& stream);  // When true, the caller comes after it.

// Each captures the place of the record when it is called.
void record(CUstream_st& stream, CUevent_st& event);
void wait_for(CUstream_st& stream, CUevent_st& event);
std::shared_ptr<Mark> mark_of(CUevent_st& event);

}  // namespace hostcuda
