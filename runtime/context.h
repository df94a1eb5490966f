#pragma once

#include <memory>
#include <utility>

#include "runtime/device.h"
#include "runtime/host_array.h"
#include "runtime/memory_pool.h"
#include "runtime/stream.h"
#include "runtime/tensor.h"

namespace timepipe {

// A point in the order of a context's work. On the host's own device, where the
// caller does the work itself, it is always over.
class Event {
 public:
  Event() = default;  // over
  explicit Event(std::shared_ptr<const StreamEvent> event)
      : event_(std::move(event)) {}

  bool done() const { return !event_ || event_->done(); }
  // The host goes on when it is over.
  void synchronize() const {
    if (event_) event_->synchronize();
  }

 private:
  std::shared_ptr<const StreamEvent> event_;
};

// A device, the order of the work on it (its stream) and memory for it: the
// first argument of every kernel. The host goes on while a device works; on the
// CPU the caller is the stream. One per thread that computes (a rank). Kernels
// may use OpenMP threads inside.
class Context {
 public:
  // Throws InvalidArgument unless this build and this machine have the device.
  // With kCount for a plan, which needs no device: its tensors have a shape,
  // but no memory.
  explicit Context(Device device, MemoryPool::Mode mode = {});
  explicit Context(MemoryPool::Mode mode = {}) : Context(Device{}, mode) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return device_; }

  Tensor allocate(Shape shape, DType dtype,
                  MemoryUse use = MemoryUse::kScratch);
  Tensor zeros(Shape shape, DType dtype, MemoryUse use = MemoryUse::kScratch);
  // Memory of the host which the device can reach, so that copies to and from
  // it go on beside the host's work.
  HostArray pinned(Shape shape, DType dtype);

  // After all work so far.
  Event record() { return stream_ ? Event(stream_->record()) : Event(); }

  MemoryPool& pool() { return pool_; }
  // Null on the host's own device.
  Stream* stream() { return stream_.get(); }

  // Kernels and transfers that were run so far.
  int64_t kernels_run() const { return kernels_run_; }
  void count_kernel() { ++kernels_run_; }

 private:
  Device device_;
  int64_t kernels_run_ = 0;
  std::shared_ptr<Stream> stream_;
  MemoryPool pool_;
};

}  // namespace timepipe
