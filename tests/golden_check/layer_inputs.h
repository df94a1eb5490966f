#pragma once

// Tensors of the layer_* folders as the kernels take them.

#include <algorithm>
#include <string>

#include "tests/golden_check/golden.h"

namespace timepipe::golden {

inline constexpr const char* kStateNames[] = {"W1", "b1", "W2", "b2"};

// The b-th of `batch` pieces of one size.
inline Values entry_of(const Values& all, int64_t b, int64_t batch) {
  const int64_t size = std::ssize(all) / batch;
  return {all.begin() + b * size, all.begin() + (b + 1) * size};
}

// The b-th entry of an array [batch,nh,L,width] as [L, nh*width].
inline Tensor token_major(Context& ctx, DType dtype, const Case& golden,
                          const std::string& name, int64_t b, int64_t batch,
                          int64_t heads, int64_t tokens, int64_t width) {
  const Values all = golden.values(name);
  const Shape shape{batch, heads, tokens, width};
  require(std::ssize(all) == numel_of(shape),
          name + ": " + std::to_string(all.size()) +
              " elements, expected those of " + to_string(shape));
  const Values x = entry_of(all, b, batch);
  Values y(x.size());
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = 0; t < tokens; ++t) {
      std::copy_n(x.begin() + (h * tokens + t) * width, width,
                  y.begin() + (t * heads + h) * width);
    }
  }
  return from_values(ctx, dtype, name, y, {tokens, heads * width});
}

// The b-th entry of the states <prefix><name><suffix>, flat.
inline Tensor flat_state(Context& ctx, DType dtype, const Case& golden,
                         const std::string& prefix, const std::string& suffix,
                         int64_t b, int64_t batch) {
  Values flat;
  for (const char* name : kStateNames) {
    if (!golden.has(prefix + name + suffix)) continue;
    const Values part =
        entry_of(golden.values(prefix + name + suffix), b, batch);
    flat.insert(flat.end(), part.begin(), part.end());
  }
  const auto size = static_cast<int64_t>(flat.size());
  return from_values(ctx, dtype, prefix + suffix, flat, {size});
}

// Results of a layer by their names in the folder: of "_last", "grad._init" and
// the like, states of all parts, one entry per part ("W1_last", ...).
std::map<std::string, Values> name_states(const TttShape& shape,
                                          std::map<std::string, Values> got,
                                          int64_t batch);

// Compares what was got of so many copies of the batch, and what follows from
// it: the objective, and eta, the product of its parts, as an input.
void compare_layer(const Options& options, const Case& golden,
                   const std::map<std::string, Values>& got, int64_t copies,
                   Report& report);

inline void append(const Values& from, Values& to) {
  to.insert(to.end(), from.begin(), from.end());
}

inline void accumulate(const Values& from, Values& to) {
  to.resize(from.size(), 0.0);
  for (std::size_t i = 0; i < from.size(); ++i) to[i] += from[i];
}

inline void accumulate(Context& ctx, const Tensor& from, Values& to) {
  accumulate(to_values(ctx, from), to);
}

}  // namespace timepipe::golden
