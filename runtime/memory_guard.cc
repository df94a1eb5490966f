#include "runtime/memory_guard.h"

#include <glog/logging.h>

#include <algorithm>

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(data, size) ((void)(data), (void)(size))
#endif

namespace timepipe {

std::mutex MemoryGuard::mutex_;
std::map<const std::byte*, MemoryGuard::Block> MemoryGuard::blocks_;

void MemoryGuard::add(void* block, int64_t size) {
  if constexpr (!kGuardsMemory) return;
  const std::lock_guard lock(mutex_);
  blocks_[static_cast<const std::byte*>(block)] = {size, this};
  ASAN_POISON_MEMORY_REGION(block, size);
}

void MemoryGuard::remove(void* block) {
  if constexpr (!kGuardsMemory) return;
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(static_cast<const std::byte*>(block));
  CHECK(found != blocks_.end()) << "a block of no pool";
  ASAN_UNPOISON_MEMORY_REGION(block, found->second.size);
  blocks_.erase(found);
}

void MemoryGuard::close(void* block, int64_t size) {
  if constexpr (!kGuardsMemory) return;
  const std::lock_guard lock(mutex_);
  const Range all{static_cast<const std::byte*>(block), size};
  std::erase_if(opened_, [&](const Range& range) { return range.meets(all); });
  CHECK(!is_held(all)) << "memory is given back while it is held";
  ASAN_POISON_MEMORY_REGION(block, size);
}

void MemoryGuard::enter() {
  if constexpr (!kGuardsMemory) return;
  const std::lock_guard lock(mutex_);
  ++depth_;
}

void MemoryGuard::leave() {
  if constexpr (!kGuardsMemory) return;
  const std::lock_guard lock(mutex_);
  if (--depth_ > 0) return;
  for (const Range& range : opened_) close_unheld(range);
  opened_.clear();
}

void MemoryGuard::open(const void* data, int64_t size) {
  if constexpr (!kGuardsMemory) return;
  if (size == 0) return;
  const std::lock_guard lock(mutex_);
  const Range range{static_cast<const std::byte*>(data), size};
  MemoryGuard& guard = guard_of(range);
  CHECK_GT(guard.depth_, 0) << "elements are read outside of every kernel";
  if (std::ranges::find(guard.opened_, range) != guard.opened_.end()) return;
  guard.opened_.push_back(range);
  ASAN_UNPOISON_MEMORY_REGION(data, size);
}

void MemoryGuard::hold(const void* data, int64_t size) {
  if constexpr (!kGuardsMemory) return;
  if (size == 0) return;
  const std::lock_guard lock(mutex_);
  const Range range{static_cast<const std::byte*>(data), size};
  guard_of(range).held_.push_back(range);
  ASAN_UNPOISON_MEMORY_REGION(data, size);
}

void MemoryGuard::release(const void* data, int64_t size) {
  if constexpr (!kGuardsMemory) return;
  if (size == 0) return;
  const std::lock_guard lock(mutex_);
  const Range range{static_cast<const std::byte*>(data), size};
  MemoryGuard& guard = guard_of(range);
  const auto found = std::ranges::find(guard.held_, range);
  CHECK(found != guard.held_.end()) << "memory is released that isn't held";
  guard.held_.erase(found);
  if (guard.depth_ > 0) {
    guard.opened_.push_back(range);
  } else {
    guard.close_unheld(range);
  }
}

MemoryGuard& MemoryGuard::guard_of(const Range& range) {
  auto block = blocks_.upper_bound(range.begin);
  CHECK(block != blocks_.begin()) << "memory of no pool";
  --block;
  CHECK(range.begin + range.size <= block->first + block->second.size)
      << "memory beyond its block";
  return *block->second.guard;
}

bool MemoryGuard::is_held(const Range& range) const {
  return std::ranges::any_of(
      held_, [&](const Range& held) { return held.meets(range); });
}

void MemoryGuard::close_unheld(const Range& range) const {
  const auto held = std::ranges::find_if(
      held_, [&](const Range& other) { return other.meets(range); });
  if (held == held_.end()) {
    ASAN_POISON_MEMORY_REGION(range.begin, range.size);
    return;
  }
  const std::byte *end = range.begin + range.size,
                  *held_end = held->begin + held->size;
  if (range.begin < held->begin) {
    close_unheld({range.begin, held->begin - range.begin});
  }
  if (held_end < end) close_unheld({held_end, end - held_end});
}

}  // namespace timepipe
