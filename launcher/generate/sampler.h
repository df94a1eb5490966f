#pragma once

#include <cstdint>
#include <vector>

#include "runtime/host_array.h"

namespace timepipe {

// How the next token is chosen. The order is Hugging Face's: logits are divided
// by the temperature, then all but the top_k largest go (equals of the last
// stay), then all but the most probable whose sum first reaches top_p.
struct SamplerOptions {
  double temperature = 1;  // 0: the largest logit, the first of equals
  int64_t top_k = 0;       // 0: all
  double top_p = 1;
  uint64_t seed = 0;
};

// Throws InvalidArgument that names option, value and what is allowed.
void validate(const SamplerOptions& options);

// Probabilities of all tokens; those that went have 0. temperature > 0.
// logits: [vocab], finite.
std::vector<double> probabilities(const SamplerOptions& options,
                                  const std::vector<double>& logits);

// The token at `position` (tokens before it): a pure function of options,
// position and logits, one of each id. Throws InvalidArgument if a logit isn't
// finite.
int64_t sample(const SamplerOptions& options, int64_t position,
               const HostArray& logits);

}  // namespace timepipe
