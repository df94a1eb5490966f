// Places and hashes of the parameters in their flat buffer.

#include "runtime/parameter.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "runtime/parallel_for.h"

namespace timepipe {
namespace {

// Parameters start at multiples of this many elements: 64 bytes of f32, so
// that no two share a cache line. The padding is zero and in no block.
auto find(const std::vector<Parameter>& parameters, const std::string& name) {
  return std::find_if(parameters.begin(), parameters.end(),
                      [&](const Parameter& p) { return p.name == name; });
}

}  // namespace

int64_t ParameterLayout::add(std::string name, Shape shape) {
  require(find(parameters_, name) == parameters_.end(),
          "parameter " + name + ": added twice");
  int64_t count = 1;
  for (const int64_t d : shape) {
    require(d > 0, "parameter " + name + ": shape " + to_string(shape) +
                       ", expected sizes above 0");
    count *= d;
  }
  const auto index = static_cast<int64_t>(parameters_.size());
  for (int64_t begin = 0; begin < count; begin += ParameterBlock::kElements) {
    blocks_.push_back({index, numel_ + begin,
                       std::min(ParameterBlock::kElements, count - begin)});
  }
  parameters_.push_back({std::move(name), std::move(shape), numel_, count});
  numel_ = offset_after(parameters_.back());
  return index;
}

int64_t ParameterLayout::index_of(const std::string& name) const {
  const auto found = find(parameters_, name);
  require(found != parameters_.end(), "no parameter named " + name);
  return found - parameters_.begin();
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
  const auto num_blocks = static_cast<int64_t>(layout.blocks().size());
  require(
      0 <= begin_block && begin_block <= end_block && end_block <= num_blocks,
      "blocks [" + std::to_string(begin_block) + "," +
          std::to_string(end_block) + ") of " + std::to_string(num_blocks));
  const std::byte* bytes = flat.bytes().data();
  const int64_t size = size_of(flat.dtype());
  std::vector<uint64_t> hashes(end_block - begin_block);
  parallel_for(end_block - begin_block, [&](int64_t i) {
    const ParameterBlock& block = layout.blocks()[begin_block + i];
    hashes[i] = XXH64(bytes + block.offset * size, block.count * size, 0);
  });
  return hashes;
}

uint64_t combine_hashes(const std::vector<uint64_t>& hashes) {
  return XXH64(hashes.data(), hashes.size() * sizeof(uint64_t), 0);
}

}  // namespace timepipe
