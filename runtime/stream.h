#pragma once

#include <cstdint>
#include <memory>

#include "runtime/device.h"

namespace timepipe {

// A point in the work of a stream.
class StreamEvent {
 public:
  virtual ~StreamEvent() = default;
  // Both throw what has gone wrong on the device by then.
  virtual bool done() const = 0;
  virtual void synchronize() const = 0;
};

// What a Context needs of a device that isn't the host's own: memory, copies
// and events in the order of one stream of work. Not for use by two threads at
// once. Throws CudaError (runtime/cuda/error.h).
class Stream {
 public:
  virtual ~Stream() = default;

  // Memory of the device, aligned to 256 bytes; null if it has no more.
  virtual void* allocate(int64_t bytes) = 0;
  // Free when all work so far is done. May be called when the stream's Context
  // is gone, from any thread.
  virtual void free(void* memory) = 0;

  // Memory of the host that copies to and from the device can use.
  virtual std::shared_ptr<std::byte> pinned(int64_t bytes) = 0;

  // From and to the host's memory, pinned or not; `from` is free again when
  // upload() returns, `to` is there when download() does.
  virtual void upload(const void* from, void* to, int64_t bytes) = 0;
  virtual void download(const void* from, void* to, int64_t bytes) = 0;
  // `to` is pinned, and there after an event that is recorded now.
  virtual void download_later(const void* from, void* to, int64_t bytes) = 0;
  // On the device.
  virtual void copy(const void* from, void* to, int64_t bytes) = 0;
  virtual void clear(void* memory, int64_t bytes) = 0;

  virtual std::shared_ptr<const StreamEvent> record() = 0;
};

}  // namespace timepipe
