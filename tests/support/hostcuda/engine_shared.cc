#include <hostcuda/engine_shared.h>
#include <hostcuda/engine_state.h>
#include <hostcuda/fiber.h>

#include <cstdint>

namespace hostcuda {

SharedArena::~SharedArena() { release(); }

void SharedArena::release() {
  if (memory_ == nullptr) return;
  unpoison_memory(memory_, kArenaBytes);
  unmap_memory(memory_, kArenaBytes);
  memory_ = nullptr;
}

void SharedArena::begin_block(std::size_t dynamic_bytes, bool fresh) {
  if (fresh) release();
  if (memory_ == nullptr) {
    memory_ = map_memory(kArenaBytes);
    poison_memory(memory_, kArenaBytes);
  }
  fill_bytes(memory_, 0xff, kRedzone);
  used_ = kRedzone;
  static_bytes_ = 0;
  num_arrays_ = 0;
  place(nullptr, dynamic_bytes);
}

void* SharedArena::array(const void* site, std::size_t bytes) {
  for (std::size_t i = 1; i < num_arrays_; ++i) {
    if (arrays_[i].site == site) return arrays_[i].memory;
  }
  static_bytes_ += bytes;
  if (static_bytes_ > kMostStaticBytes) {
    fail("%zu bytes of static shared memory, more than %zu", static_bytes_,
         kMostStaticBytes);
  }
  if (static_bytes_ + arrays_[0].bytes > kMostBytes) {
    fail("%zu bytes of shared memory, more than %zu",
         static_bytes_ + arrays_[0].bytes, kMostBytes);
  }
  if (num_arrays_ == kMostArrays) {
    fail("more than %zu shared arrays", kMostArrays - 1);
  }
  place(site, bytes);
  return arrays_[num_arrays_ - 1].memory;
}

void SharedArena::place(const void* site, std::size_t bytes) {
  constexpr std::size_t kAlignment = 16;
  const std::size_t aligned =
      (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::byte* const memory = memory_ + used_;
  fill_bytes(memory, 0xff, aligned + kRedzone);
  unpoison_memory(memory, bytes);
  arrays_[num_arrays_++] = {site, memory, bytes};
  used_ += aligned + kRedzone;
}

void SharedArena::end_block() {
  require_untouched(memory_, 0);
  for (std::size_t i = 0; i < num_arrays_; ++i) {
    const Array& array = arrays_[i];
    require_untouched(array.memory + array.bytes, array.bytes);
    poison_memory(array.memory, array.bytes);
  }
}

void SharedArena::require_untouched(const std::byte* redzone,
                                    std::size_t bytes_before) {
  if (kPoisons) return;  // Who touched it was reported.
  for (std::size_t i = 0; i < kRedzone; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    __builtin_memcpy(&word, redzone + i, sizeof word);
    if (word != ~uint64_t{0}) {
      fail_block("a write outside of a shared array (%zu bytes)", bytes_before);
    }
  }
}

void* shared_array(const void* site, std::size_t bytes) {
  return engine->shared.array(site, bytes);
}

void* dynamic_shared() { return engine->shared.dynamic(); }

}  // namespace hostcuda
