// Takes blocks from the system, keeps and accounts them.

#include "runtime/memory_pool.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "runtime/byte_text.h"
#include "runtime/error.h"

namespace timepipe {

struct MemoryPool::Ledger {
  const std::shared_ptr<Stream> stream;
  const bool keeps_blocks;
  std::array<int64_t, kMemoryUses> current{}, peak{};
  std::multimap<int64_t, void*> free_blocks;
  int64_t held = 0;
  MemoryGuard guard;  // of the host's memory

  explicit Ledger(std::shared_ptr<Stream> of)
      : stream(std::move(of)), keeps_blocks(!stream || !passes()) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger() { give_back(); }

  // Gives all blocks that are kept back to the system.
  void give_back() {
    for (const auto& [size, block] : free_blocks) release(block, size);
    free_blocks.clear();
  }
  // One that nobody uses any more.
  void take_back(void* block, int64_t size) {
    if (!keeps_blocks) return release(block, size);
    if (!stream) guard.close(block, size);
    free_blocks.emplace(size, block);
  }
  void* take(int64_t size);
  std::string shortage(int64_t size, std::size_t use) const;

 private:
  static bool passes() {
    const char* mode = std::getenv("TIMEPIPE_POOL");
    return mode != nullptr && std::string_view(mode) == "pass";
  }
  void* take_from_system(int64_t size) {
    if (stream) return stream->allocate(size);
    return std::aligned_alloc(kAlignment, static_cast<std::size_t>(size));
  }
  void release(void* block, int64_t size) {
    held -= size;
    if (stream) return stream->free(block);
    guard.remove(block);
    std::free(block);
  }
};

// Returns null if the system has no more memory.
void* MemoryPool::Ledger::take(int64_t size) {
  void* block = take_from_system(size);
  if (block == nullptr) {
    give_back();
    block = take_from_system(size);
  }
  if (block == nullptr) return nullptr;
  held += size;
  if (!stream) guard.add(block, size);
  return block;
}

std::string MemoryPool::Ledger::shortage(int64_t size, std::size_t use) const {
  constexpr std::array<const char*, kMemoryUses> kNames = {
      "parameters", "activations", "borders", "ids", "scratch"};
  std::string text = "out of memory: " + byte_text(size) + " more for " +
                     kNames[use] + "; held:";
  for (std::size_t u = 0; u < kMemoryUses; ++u) {
    text += std::string(u == 0 ? " " : ", ") + kNames[u] + " " +
            byte_text(current[u]);
  }
  return text;
}

const std::shared_ptr<MemoryPool::Ledger>& MemoryPool::ledger() {
  if (!ledger_) ledger_ = std::make_shared<Ledger>(stream_);
  return ledger_;
}

int64_t MemoryPool::block_bytes(int64_t size_bytes) {
  constexpr int64_t kAlign = kAlignment;
  return std::max(kAlign, (size_bytes + kAlign - 1) / kAlign * kAlign);
}

std::shared_ptr<void> MemoryPool::allocate(int64_t size_bytes, MemoryUse use) {
  const int64_t size = block_bytes(size_bytes);
  std::shared_ptr<Ledger> books = ledger();
  const auto u = static_cast<std::size_t>(use);
  books->current[u] += size;
  books->peak[u] = std::max(books->peak[u], books->current[u]);
  if (mode_ == Mode::kCount) {
    return {nullptr, [books, size, u](void*) { books->current[u] -= size; }};
  }
  int64_t block_size = size;
  void* block = nullptr;
  if (auto found = books->free_blocks.lower_bound(size);
      found != books->free_blocks.end() && found->first <= size + size / 4) {
    std::tie(block_size, block) = *found;
    books->free_blocks.erase(found);
  } else {
    block = books->take(size);
    if (block == nullptr) {
      books->current[u] -= size;
      throw OutOfMemory(books->shortage(size, u));
    }
  }
  return {block, [books, size, block_size, u](void* p) {
            books->current[u] -= size;
            books->take_back(p, block_size);
          }};
}

int64_t MemoryPool::current_bytes(MemoryUse use) const {
  return ledger_ ? ledger_->current[static_cast<std::size_t>(use)] : 0;
}

int64_t MemoryPool::peak_bytes(MemoryUse use) const {
  return ledger_ ? ledger_->peak[static_cast<std::size_t>(use)] : 0;
}

int64_t MemoryPool::held_bytes() const { return ledger_ ? ledger_->held : 0; }

void MemoryPool::reset_peaks() {
  if (ledger_) ledger_->peak = ledger_->current;
}

MemoryGuard& MemoryPool::guard() { return ledger()->guard; }

}  // namespace timepipe
