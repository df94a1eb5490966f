#pragma once

// Tensors of the layer_* folders as the kernels take them.

#include <string>

#include "tests/golden_check/golden.h"

namespace timepipe::golden {

inline constexpr const char* kStateNames[] = {"W1", "b1", "W2", "b2"};

// The b-th entry of [B,nh,L,width] as [L, nh*width].
inline Tensor token_major(Context& ctx, DType dtype, const Tensor& all,
                          int64_t b, int64_t heads, int64_t tokens,
                          int64_t width) {
  const Values x =
      to_values(all.reshape({all.dim(0), heads, tokens, width}));  // or throws
  Tensor y = ctx.allocate({tokens, heads * width}, dtype);
  dispatch(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t t = 0; t < tokens; ++t) {
        for (int64_t i = 0; i < width; ++i) {
          y.data<T>()[(t * heads + h) * width + i] =
              static_cast<T>(x[((b * heads + h) * tokens + t) * width + i]);
        }
      }
    }
  });
  return y;
}

// The b-th entry of the states <prefix><name><suffix>, flat.
inline Tensor flat_state(Context& ctx, DType dtype, const Case& golden,
                         const std::string& prefix, const std::string& suffix,
                         int64_t b, int64_t batch) {
  Values flat;
  for (const char* name : kStateNames) {
    if (!golden.has(prefix + name + suffix)) continue;
    const Values all = golden.values(prefix + name + suffix);
    const auto size = static_cast<int64_t>(all.size()) / batch;
    flat.insert(flat.end(), all.begin() + b * size,
                all.begin() + (b + 1) * size);
  }
  const auto size = static_cast<int64_t>(flat.size());
  return from_values(ctx, dtype, prefix + suffix, flat, {size});
}

// Results of a layer by their names in the folder: of "_last", "grad._init" and
// the like, states of all parts, one entry per part ("W1_last", ...).
std::map<std::string, Values> name_states(const TttShape& shape,
                                          std::map<std::string, Values> got,
                                          int64_t batch);

// Compares what was got, and what follows from it: the objective, and eta, the
// product of its parts, as an input.
void compare_layer(const Options& options, const Case& golden,
                   const std::map<std::string, Values>& got, Report& report);

inline void add(const Tensor& x, Values& sum) {
  const Values values = to_values(x);
  sum.resize(values.size(), 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
}

inline void append(const Values& from, Values& to) {
  to.insert(to.end(), from.begin(), from.end());
}

inline void accumulate(const Values& from, Values& to) {
  to.resize(from.size(), 0.0);
  for (std::size_t i = 0; i < from.size(); ++i) to[i] += from[i];
}

}  // namespace timepipe::golden
