#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/context.h"
#include "runtime/precision.h"

namespace timepipe {

struct Parameter {
  std::string name;  // as in the official checkpoints
  Shape shape;
  int64_t offset, count;  // elements in the flat buffer
};

// A piece of one parameter: the unit of the gradient norm, of the optimizer's
// shards, of checksums and of the digest.
struct ParameterBlock {
  static constexpr int64_t kElements = 16384;
  int64_t parameter;      // index
  int64_t offset, count;  // elements in the flat buffer
};

// Names, shapes and places of all parameters in one flat buffer, cut into
// blocks of 16,384 elements that never span two parameters.
class ParameterLayout {
 public:
  // Where the parameter after this one begins: at a multiple of 16 elements, 64
  // bytes of f32, so that no two share a cache line. The padding is zero and in
  // no block.
  static int64_t offset_after(const Parameter& p) {
    constexpr int64_t kAlignment = 16;
    return (p.offset + p.count + kAlignment - 1) / kAlignment * kAlignment;
  }

  // Returns the index. Throws InvalidArgument on a name that is there already.
  int64_t add(std::string name, Shape shape);
  // Throws InvalidArgument naming what is missing.
  int64_t index_of(const std::string& name) const;

  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t numel() const { return numel_; }
  // Blocks have indices along the flat buffer. They are computed, not kept: a
  // model that is only planned may have hundreds of millions.
  int64_t num_blocks() const { return num_blocks_; }
  ParameterBlock block(int64_t index) const;

 private:
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, int64_t> index_;  // by name
  std::vector<int64_t> first_blocks_;               // of each parameter
  int64_t num_blocks_ = 0, numel_ = 0;
};

// The weights: a layout and one flat buffer of its elements, the masters.
class ParameterStore {
 public:
  // dtype: f32, f64 or bf16, see Precision.
  ParameterStore(Context& ctx, ParameterLayout layout, DType dtype);

  const ParameterLayout& layout() const { return layout_; }
  const Precision& precision() const { return precision_; }
  DType dtype() const { return precision_.master; }
  Tensor& flat() { return flat_; }
  const Tensor& flat() const { return flat_; }
  // The parameter's own shape, over the flat buffer.
  Tensor value(int64_t index) const;
  Tensor value(const std::string& name) const {
    return value(layout_.index_of(name));
  }
  // As products read them, of precision().compute: copies that whoever changes
  // the masters rounds anew, or the masters themselves if that is their type.
  Tensor operands() const { return operands_; }
  Tensor operand(int64_t index) const;

 private:
  ParameterLayout layout_;
  Precision precision_;
  Tensor flat_, operands_;
};

// xxh64 over the hashes of all blocks (kernels/parameter_blocks.h), in their
// order: the digest.
uint64_t combine_hashes(std::span<const uint64_t> hashes);

}  // namespace timepipe
