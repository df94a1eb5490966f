#pragma once

// Small parameters of the names and shapes that optimizers tell apart.

#include <cstdint>
#include <vector>

#include "runtime/parameter.h"
#include "runtime/rng.h"
#include "runtime/transfer.h"

namespace timepipe::testing {

struct NamedShape {
  const char* name;
  Shape shape;
  bool is_norm_or_bias;
};

// Ten blocks; sizes that need padding and, between, some that don't.
inline const std::vector<NamedShape>& sample_shapes() {
  static const std::vector<NamedShape> shapes = {
      {"embed_tokens.weight", {50, 331}, false},  // two blocks
      {"layers.0.seq_norm.weight", {17}, true},
      {"layers.0.W1", {2, 16, 16}, false},
      {"layers.0.b1", {2, 1, 16}, true},
      {"layers.0.b2", {2, 1, 16}, true},
      {"layers.0.ttt_norm_weight", {3}, true},
      {"layers.0.ttt_norm_bias", {3}, true},
      {"layers.0.learnable_ttt_lr_bias", {3, 1}, true},
      {"layers.0.conv.bias", {5}, true},
      {"lm_head.weight", {64, 31}, false}};
  return shapes;
}

inline ParameterLayout sample_layout() {
  ParameterLayout layout;
  for (const NamedShape& p : sample_shapes()) layout.add(p.name, p.shape);
  return layout;
}

inline ParameterStore sample_weights(Context& ctx, DType dtype) {
  ParameterStore weights(ctx, sample_layout(), dtype);
  for (const Parameter& p : weights.layout().parameters()) {
    HostArray numbers(p.shape, dtype);
    fill_normal(Rng(1, p.name), 0.3, numbers);
    upload(ctx, numbers, weights.value(p.name));
  }
  return weights;
}

}  // namespace timepipe::testing
