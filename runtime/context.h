#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "runtime/tensor.h"

namespace timepipe {

// What memory is used for; the pool accounts each use on its own, so that a
// plan's promise (activations of one chunk, whatever the sequence length) can
// be checked against what was taken.
enum class MemoryUse { kParameters, kActivations, kBorders, kScratch };
inline constexpr int kMemoryUses = 4;

// Aligned host memory, with blocks that are given back kept for the next
// request of that size or of up to a fifth less. One pool per Context; not for
// use by two threads.
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

 private:
  struct Ledger;  // shared with the blocks that are out, which may outlive us
  std::shared_ptr<Ledger> ledger();
  Mode mode_;
  std::shared_ptr<Ledger> ledger_;
};

// One device and its memory; the first argument of every kernel. One per
// thread that computes (a rank). Kernels may use OpenMP threads inside.
class Context {
 public:
  Context() = default;
  // With kCount for a plan: its tensors have a shape, but no memory.
  explicit Context(MemoryPool::Mode mode) : pool_(mode) {}

  Tensor allocate(Shape shape, DType dtype,
                  MemoryUse use = MemoryUse::kScratch);
  Tensor zeros(Shape shape, DType dtype, MemoryUse use = MemoryUse::kScratch);

  MemoryPool& pool() { return pool_; }

 private:
  MemoryPool pool_;
};

// Scratch with the same elements; empty if `tensor` is.
Tensor copy(Context& ctx, const Tensor& tensor);

}  // namespace timepipe
