// Places and hashes of the parameters in their flat buffer.

#include "runtime/parameter.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "runtime/parallel_for.h"

namespace timepipe {

int64_t ParameterLayout::add(std::string name, Shape shape) {
  require(!index_.contains(name), "parameter " + name + ": added twice");
  int64_t count = 1;
  for (const int64_t d : shape) {
    require(d > 0, "parameter " + name + ": shape " + to_string(shape) +
                       ", expected sizes above 0");
    count *= d;
  }
  const auto index = static_cast<int64_t>(parameters_.size());
  index_.emplace(name, index);
  first_blocks_.push_back(num_blocks_);
  num_blocks_ +=
      (count + ParameterBlock::kElements - 1) / ParameterBlock::kElements;
  parameters_.push_back({std::move(name), std::move(shape), numel_, count});
  numel_ = offset_after(parameters_.back());
  return index;
}

int64_t ParameterLayout::index_of(const std::string& name) const {
  const auto found = index_.find(name);
  require(found != index_.end(), "no parameter named " + name);
  return found->second;
}

ParameterBlock ParameterLayout::block(int64_t index) const {
  const auto next = std::ranges::upper_bound(first_blocks_, index);
  const auto parameter = next - first_blocks_.begin() - 1;
  const Parameter& p = parameters_.at(parameter);
  const int64_t begin =
      (index - first_blocks_[parameter]) * ParameterBlock::kElements;
  return {parameter, p.offset + begin,
          std::min(ParameterBlock::kElements, p.count - begin)};
}

ParameterStore::ParameterStore(Context& ctx, ParameterLayout layout,
                               DType dtype)
    : layout_(std::move(layout)),
      flat_(ctx.zeros({layout_.numel()}, dtype, MemoryUse::kParameters)) {}

Tensor ParameterStore::value(int64_t index) const {
  const Parameter& p = layout_.parameters().at(index);
  return flat_.slice(p.offset, p.offset + p.count).reshape(p.shape);
}

std::vector<uint64_t> block_hashes(const ParameterLayout& layout,
                                   const Tensor& flat, int64_t begin_block,
                                   int64_t end_block) {
  require_shape("flat", flat, {layout.numel()});
  const int64_t num_blocks = layout.num_blocks();
  require(
      0 <= begin_block && begin_block <= end_block && end_block <= num_blocks,
      "blocks [" + std::to_string(begin_block) + "," +
          std::to_string(end_block) + ") of " + std::to_string(num_blocks));
  const std::byte* bytes = flat.bytes().data();
  const int64_t size = size_of(flat.dtype());
  std::vector<uint64_t> hashes(end_block - begin_block);
  parallel_for(end_block - begin_block, [&](int64_t i) {
    const ParameterBlock block = layout.block(begin_block + i);
    hashes[i] = XXH64(bytes + block.offset * size, block.count * size, 0);
  });
  return hashes;
}

uint64_t combine_hashes(const std::vector<uint64_t>& hashes) {
  return XXH64(hashes.data(), hashes.size() * sizeof(uint64_t), 0);
}

}  // namespace timepipe
