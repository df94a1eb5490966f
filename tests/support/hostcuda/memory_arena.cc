#include <hostcuda/memory_arena.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace hostcuda {
namespace {

constexpr std::size_t kAlignment = 256;  // Of blocks, as cudaMalloc's.
constexpr std::size_t kRedzone = 256;    // After each block.
constexpr std::size_t kPage = std::size_t{2} << 20;  // A huge page.

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::abort();
}

}  // namespace

Arena::Arena(std::size_t bytes) : bytes_(round_up(bytes, kPage)) {
  void* range = mmap(nullptr, bytes_ + kPage, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) fail("hostcuda: mmap of the device memory");
  const auto address = reinterpret_cast<std::size_t>(range);
  begin_ = static_cast<char*>(range) + (round_up(address, kPage) - address);
  madvise(begin_, bytes_, MADV_HUGEPAGE);  // Without them it is slower.
}

char* Arena::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t size = round_up(bytes, kAlignment) + kRedzone;
  const auto hole = std::find_if(free_.begin(), free_.end(), [&](auto& entry) {
    return entry.second >= size;
  });
  char* block = nullptr;
  if (hole != free_.end()) {
    block = hole->first;
    if (hole->second > size) free_[block + size] = hole->second - size;
    free_.erase(hole);
  } else {
    if (size > bytes_ - used_) return nullptr;
    block = begin_ + used_;
    used_ += size;
    if (num_open_ > 0) protect(PROT_READ | PROT_WRITE);
  }
  taken_[block] = size;
  ASAN_UNPOISON_MEMORY_REGION(block, bytes);
  ASAN_POISON_MEMORY_REGION(block + bytes, size - bytes);
  return block;
}

void Arena::release(char* begin) {
  const std::lock_guard lock(mutex_);
  const auto block = taken_.find(begin);
  std::size_t size = block->second;
  ASAN_POISON_MEMORY_REGION(begin, size);
  taken_.erase(block);
  const auto next = free_.find(begin + size);  // Joined with its neighbours.
  if (next != free_.end()) {
    size += next->second;
    free_.erase(next);
  }
  const auto after = free_.lower_bound(begin);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      before->second += size;
      return;
    }
  }
  free_[begin] = size;
}

void Arena::open() {
  const std::lock_guard lock(mutex_);
  if (num_open_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void Arena::close() {
  const std::lock_guard lock(mutex_);
  if (--num_open_ == 0) protect(PROT_NONE);
}

void Arena::protect(int protection) {
  const std::size_t bytes = round_up(used_, kPage);
  if (bytes > 0 && mprotect(begin_, bytes, protection) != 0) {
    fail("hostcuda: mprotect of the device memory");
  }
}

}  // namespace hostcuda
