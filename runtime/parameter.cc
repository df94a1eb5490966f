// Places of the parameters in their flat buffer.

#include "runtime/parameter.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace timepipe {

int64_t ParameterLayout::add(std::string name, Shape shape) {
  require(!index_.contains(name), "parameter ", name, ": added twice");
  int64_t count = 1;
  for (const int64_t d : shape) {
    require(d > 0, "parameter ", name, ": shape ", shape,
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
  require(found != index_.end(), "no parameter named ", name);
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

namespace {

Tensor piece_of(const Tensor& flat, const Parameter& p) {
  return flat.slice(p.offset, p.offset + p.count).reshape(p.shape);
}

}  // namespace

ParameterStore::ParameterStore(Context& ctx, ParameterLayout layout,
                               DType dtype)
    : layout_(std::move(layout)),
      precision_(precision_of(dtype)),
      flat_(ctx.zeros({layout_.numel()}, precision_.master,
                      MemoryUse::kParameters)),
      operands_(precision_.compute == precision_.master
                    ? flat_
                    : ctx.zeros({layout_.numel()}, precision_.compute,
                                MemoryUse::kParameters)) {}

Tensor ParameterStore::value(int64_t index) const {
  return piece_of(flat_, layout_.parameters().at(index));
}

Tensor ParameterStore::operand(int64_t index) const {
  return piece_of(operands_, layout_.parameters().at(index));
}

uint64_t combine_hashes(std::span<const uint64_t> hashes) {
  return XXH64(hashes.data(), hashes.size_bytes(), 0);
}

}  // namespace timepipe
