#include "runtime/context.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace timepipe {

struct MemoryPool::Ledger {
  std::array<int64_t, kMemoryUses> current{}, peak{};
  std::multimap<int64_t, void*> free_blocks;

  Ledger() = default;
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger() {
    for (auto& [size, block] : free_blocks) std::free(block);
  }
};

std::shared_ptr<MemoryPool::Ledger> MemoryPool::ledger() {
  if (!ledger_) ledger_ = std::make_shared<Ledger>();
  return ledger_;
}

std::shared_ptr<void> MemoryPool::allocate(int64_t size_bytes, MemoryUse use) {
  const int64_t align = kAlignment;
  const int64_t size =
      std::max(align, (size_bytes + align - 1) / align * align);
  std::shared_ptr<Ledger> books = ledger();
  void* block = nullptr;
  if (auto found = books->free_blocks.find(size);
      found != books->free_blocks.end()) {
    block = found->second;
    books->free_blocks.erase(found);
  } else {
    block = std::aligned_alloc(kAlignment, static_cast<std::size_t>(size));
    if (block == nullptr) throw std::bad_alloc();
  }
  const auto u = static_cast<std::size_t>(use);
  books->current[u] += size;
  books->peak[u] = std::max(books->peak[u], books->current[u]);
  return {block, [books, size, u](void* p) {
            books->current[u] -= size;
            books->free_blocks.emplace(size, p);
          }};
}

int64_t MemoryPool::current_bytes(MemoryUse use) const {
  return ledger_ ? ledger_->current[static_cast<std::size_t>(use)] : 0;
}

int64_t MemoryPool::peak_bytes(MemoryUse use) const {
  return ledger_ ? ledger_->peak[static_cast<std::size_t>(use)] : 0;
}

void MemoryPool::reset_peaks() {
  if (ledger_) ledger_->peak = ledger_->current;
}

Tensor Context::allocate(Shape shape, DType dtype, MemoryUse use) {
  int64_t n = size_of(dtype);
  for (const int64_t d : shape) n *= d;
  std::shared_ptr<void> block = pool_.allocate(n, use);
  void* data = block.get();
  return Tensor(std::move(block), data, dtype, std::move(shape));
}

Tensor Context::zeros(Shape shape, DType dtype, MemoryUse use) {
  Tensor t = allocate(std::move(shape), dtype, use);
  if (!t.empty()) std::memset(t.bytes().data(), 0, t.bytes().size());
  return t;
}

Tensor copy(Context& ctx, const Tensor& tensor) {
  if (tensor.empty()) return {};
  Tensor result = ctx.allocate(tensor.shape(), tensor.dtype());
  std::memcpy(result.bytes().data(), tensor.bytes().data(),
              tensor.bytes().size());
  return result;
}

}  // namespace timepipe
