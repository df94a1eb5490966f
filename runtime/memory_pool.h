#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "runtime/memory_guard.h"
#include "runtime/stream.h"

namespace timepipe {

// What memory is used for; the pool accounts each use on its own, so that a
// plan's promise (activations of one chunk, whatever the sequence length) can
// be checked against what was taken.
enum class MemoryUse { kParameters, kActivations, kBorders, kBatch, kScratch };
inline constexpr int kMemoryUses = 5;

// Aligned memory of the host or of a stream's device, with blocks that are
// given back kept for the next request of that size or of up to a fifth less.
// One pool per Context, in the order of its work: what is given back may be
// taken at once, since whatever uses it comes after what used it before. Not
// for use by two threads. With TIMEPIPE_POOL=pass in the environment a device's
// pool keeps nothing: every request is an allocation of its own, whose ends the
// tools that look for errors in kernels can see.
class MemoryPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  // kCount: accounts requests and gives null, to learn what something needs.
  enum class Mode { kTake, kCount };
  // stream: null for the host's memory.
  explicit MemoryPool(Mode mode = Mode::kTake,
                      std::shared_ptr<Stream> stream = {})
      : mode_(mode), stream_(std::move(stream)) {}

  // What a request takes: whole units of the alignment, at least one.
  static int64_t block_bytes(int64_t size_bytes);
  // Gives kept blocks back to the system before it throws OutOfMemory.
  std::shared_ptr<void> allocate(int64_t size_bytes, MemoryUse use);

  int64_t current_bytes(MemoryUse use) const;
  int64_t peak_bytes(MemoryUse use) const;
  void reset_peaks();
  // All that was taken from the system: in use, or kept for the next request.
  int64_t held_bytes() const;

  MemoryGuard& guard();

 private:
  struct Ledger;  // shared with the blocks that are out, which may outlive us
  const std::shared_ptr<Ledger>& ledger();
  Mode mode_;
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace timepipe
