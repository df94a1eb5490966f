#include <hostcuda/memory.h>
#include <hostcuda/memory_arena.h>
#include <hostcuda/order.h>
#include <hostcuda/settings.h>
#include <sanitizer/asan_interface.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

namespace hostcuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kFilled = std::size_t{1} << 20;
constexpr std::size_t kFilledEnd = std::size_t{64} << 10;

#ifdef TIMEPIPE_HOSTCUDA_ASAN
constexpr bool kFreeAtOnce = true;  // The sanitizer has a quarantine.
#else
constexpr bool kFreeAtOnce = false;
#endif
constexpr std::size_t kQuarantineBlocks = 64;
constexpr std::size_t kQuarantineBytes = std::size_t{64} << 20;

// Of the largest device; as many addresses as several small ones need.
Arena& arena() {
  static Arena& arena = *new Arena(settings().memory + (std::size_t{1} << 30));
  return arena;
}

void give_back(const Block& block) {
  if (block.in_arena) {
    arena().release(block.begin);
  } else {
    std::free(block.begin);
  }
}

class Table {
 public:
  void* add(MemoryKind kind, int device, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const bool on_device = kind == MemoryKind::kDevice;
    const std::size_t total = settings().memory;
    if (on_device && (bytes > total || used_[device] > total - bytes)) {
      return nullptr;
    }
    const bool in_arena =
        on_device && settings().streams == StreamMode::kProtected;
    void* memory = nullptr;
    if (in_arena) {
      observe(&arena());  // Whoever had the addresses before is done.
      memory = arena().allocate(bytes);
    } else if (posix_memalign(&memory, kAlignment, bytes) != 0) {
      memory = nullptr;
    }
    if (memory == nullptr) return nullptr;
    if (on_device) used_[device] += bytes;
    char* begin = static_cast<char*>(memory);
    blocks_[begin] = {begin, bytes, kind, device, in_arena};
    return memory;
  }

  std::optional<Block> find(const char* begin, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto next = blocks_.upper_bound(begin);
    if (next == blocks_.begin()) return std::nullopt;
    const Block& block = std::prev(next)->second;
    const std::size_t offset = static_cast<std::size_t>(begin - block.begin);
    if (offset > block.bytes || bytes > block.bytes - offset) {
      return std::nullopt;
    }
    return block;
  }

  std::optional<Block> forget(char* begin, MemoryKind kind) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(begin);
    if (found == blocks_.end() || found->second.kind != kind) {
      return std::nullopt;
    }
    const Block block = found->second;
    blocks_.erase(found);
    if (kind == MemoryKind::kDevice) used_[block.device] -= block.bytes;
    return block;
  }

  void quarantine(const Block& block) {
    const std::lock_guard lock(mutex_);
    ASAN_POISON_MEMORY_REGION(block.begin, block.bytes);
    quarantine_.push_back(block);
    quarantined_ += block.bytes;
    while (quarantine_.size() > kQuarantineBlocks ||
           quarantined_ > kQuarantineBytes) {
      quarantined_ -= quarantine_.front().bytes;
      give_back(quarantine_.front());
      quarantine_.pop_front();
    }
  }

  std::size_t used(int device) {
    const std::lock_guard lock(mutex_);
    return used_[device];
  }

 private:
  std::mutex mutex_;
  std::map<const char*, Block, std::less<>> blocks_;  // Those in use.
  std::map<int, std::size_t> used_;                   // Bytes of each device.
  std::deque<Block> quarantine_;
  std::size_t quarantined_ = 0;
};

// Never destroyed: static objects of the program may still free memory.
Table& table() {
  static Table& table = *new Table;
  return table;
}

}  // namespace

void* new_block(MemoryKind kind, int device, std::size_t bytes) {
  const Unseen unseen;
  return table().add(kind, device, bytes);
}

void fill_with_nan(void* begin, std::size_t bytes) {
  const DeviceMemoryOpen open;
  if (bytes <= kFilled || settings().streams != StreamMode::kInline) {
    std::memset(begin, 0xFF, bytes);
    return;
  }
  std::memset(begin, 0xFF, kFilledEnd);
  std::memset(static_cast<char*>(begin) + bytes - kFilledEnd, 0xFF, kFilledEnd);
}

std::optional<Block> find_block(const void* begin, std::size_t bytes) {
  const Unseen unseen;
  return table().find(static_cast<const char*>(begin), bytes);
}

std::optional<Block> forget_block(void* begin, MemoryKind kind) {
  const Unseen unseen;
  return table().forget(static_cast<char*>(begin), kind);
}

void release_block(const Block& block) {
  // A write to all of it, in stream order.
  fill_with_nan(block.begin, block.bytes);
  declare_written(block.begin, block.bytes);
  if (block.in_arena) publish(&arena());
  const Unseen unseen;
  if (kFreeAtOnce && !block.in_arena) {
    give_back(block);
  } else {
    table().quarantine(block);
  }
}

DeviceMemory device_memory(int device) {
  const Unseen unseen;
  const std::size_t total = settings().memory;
  return {total - table().used(device), total};
}

DeviceMemoryOpen::DeviceMemoryOpen()
    : opened_(settings().streams == StreamMode::kProtected) {
  const Unseen unseen;
  if (opened_) arena().open();
}

DeviceMemoryOpen::~DeviceMemoryOpen() {
  const Unseen unseen;
  if (opened_) arena().close();
}

}  // namespace hostcuda
