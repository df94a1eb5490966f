#include "models/build.h"

#include <algorithm>
#include <cmath>

#include "models/layers/ttt.h"
#include "runtime/rng.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

bool contains(const std::string& text, const char* piece) {
  return text.find(piece) != std::string::npos;
}

void fill(double value, HostArray& x) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    std::ranges::fill(x.values<T>(), static_cast<T>(value));
  });
}

void initialise_convolution(const ModelConfig& config, const Rng& rng,
                            bool is_bias, HostArray& x) {
  const double bound = 1 / std::sqrt(static_cast<double>(config.conv_kernel));
  if (config.conv_init == ConvInit::kTorchUniform) {
    return fill_uniform(rng, bound, x);
  }
  if (is_bias) return fill(0, x);
  fill_truncated_normal(rng, bound, x);
}

}  // namespace

std::unique_ptr<SequenceLayer> make_sequence_layer(const ModelConfig& config,
                                                   const std::string& prefix,
                                                   ParameterLayout& layout) {
  switch (config.inner) {
    case InnerModel::kLinear:
    case InnerModel::kMlp:
      return std::make_unique<TttLayer>(config, prefix, layout);
  }
  throw InvalidArgument("model.layer: unknown kind");
}

void initialise(Context& ctx, const ModelConfig& config, uint64_t seed,
                ParameterStore& weights) {
  for (const Parameter& p : weights.layout().parameters()) {
    HostArray x(p.shape, weights.dtype());
    const Rng rng(seed, p.name);
    const bool is_bias = p.name.ends_with("bias");
    if (contains(p.name, "conv.conv.") || contains(p.name, "conv_q.") ||
        contains(p.name, "conv_k.")) {
      initialise_convolution(config, rng, is_bias, x);
    } else if (contains(p.name, "norm") && p.name.ends_with("weight")) {
      fill(1, x);
    } else if (is_bias || p.name.ends_with(".b1") || p.name.ends_with(".b2") ||
               p.name.ends_with("learnable_token_idx")) {
      fill(0, x);
    } else {
      fill_normal(rng, config.initializer_range, x);
    }
    upload(ctx, x, weights.value(p.name));
  }
}

}  // namespace timepipe
