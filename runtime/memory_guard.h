#pragma once

// The guarded device. In builds with the address sanitizer the memory of pools
// is poisoned: only what a kernel or a transfer has opened can be read or
// written, until that ends. So host code that touches a tensor's memory, which
// it couldn't do on another device, is an error of its line.

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace timepipe {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kGuardsMemory = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kGuardsMemory = true;
#else
inline constexpr bool kGuardsMemory = false;
#endif
#else
inline constexpr bool kGuardsMemory = false;
#endif

// What is open of one pool's memory. Does nothing in other builds.
class MemoryGuard {
 public:
  // A block that the pool took from the system, until it goes back.
  void add(void* block, int64_t size);
  void remove(void* block);
  // A block that nobody uses any more.
  void close(void* block, int64_t size);

  // A kernel or a transfer begins and ends; they nest. The outermost end closes
  // what was opened.
  void enter();
  void leave();
  // Opens memory of a pool, in which a kernel must be running. Any thread.
  static void open(const void* data, int64_t size);

  // Open until it is released, kernel or not: what a message is made of.
  static void hold(const void* data, int64_t size);
  static void release(const void* data, int64_t size);

 private:
  struct Range {
    const std::byte* begin;
    int64_t size;

    bool operator==(const Range&) const = default;
    bool meets(const Range& other) const {
      return begin < other.begin + other.size && other.begin < begin + size;
    }
  };
  struct Block {
    int64_t size;
    MemoryGuard* guard;
  };
  static MemoryGuard& guard_of(const Range& range);
  bool is_held(const Range& range) const;
  // Closes it but for what of it is held.
  void close_unheld(const Range& range) const;

  int depth_ = 0;
  std::vector<Range> opened_, held_;

  static std::mutex mutex_;  // of all guards
  static std::map<const std::byte*, Block> blocks_;
};

}  // namespace timepipe
