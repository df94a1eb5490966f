#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "runtime/memory_guard.h"

namespace timepipe {

// What memory is used for; the pool accounts each use on its own, so that a
// plan's promise (activations of one chunk, whatever the sequence length) can
// be checked against what was taken.
enum class MemoryUse { kParameters, kActivations, kBorders, kBatch, kScratch };
inline constexpr int kMemoryUses = 5;

// Aligned memory of the host, with blocks that are given back kept for the next
// request of that size or of up to a fifth less. One pool per Context, in the
// order of its work: what is given back may be taken at once, since whatever
// uses it comes after what used it before. Not for use by two threads.
class MemoryPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  // kCount: accounts requests and gives null, to learn what something needs.
  enum class Mode { kTake, kCount };
  explicit MemoryPool(Mode mode = Mode::kTake) : mode_(mode) {}

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
  std::shared_ptr<Ledger> ledger_;
};

}  // namespace timepipe
