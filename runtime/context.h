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
// request of the same size. One pool per Context; not for use by two threads.
class MemoryPool {
 public:
  static constexpr std::size_t kAlignment = 64;

  std::shared_ptr<void> allocate(int64_t size_bytes, MemoryUse use);

  int64_t current_bytes(MemoryUse use) const;
  int64_t peak_bytes(MemoryUse use) const;
  void reset_peaks();

 private:
  struct Ledger;  // shared with the blocks that are out, which may outlive us
  std::shared_ptr<Ledger> ledger();
  std::shared_ptr<Ledger> ledger_;
};

// One device and its memory; the first argument of every kernel. One per
// thread that computes (a rank). Kernels may use OpenMP threads inside.
class Context {
 public:
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
