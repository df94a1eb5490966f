#pragma once

#include "runtime/tensor.h"

namespace timepipe {

// Which numbers have which type. f32 and f64 are one type for all; bf16 is that
// of what products read, beside f32 for what is added up.
struct Precision {
  DType compute;  // operands of products: activations, weights as they are read
  DType state;    // hidden states, residual stream, logits, statistics, rates
  DType master;   // weights, their gradients and moments
};

inline Precision precision_of(DType dtype) {
  return {.compute = dtype, .state = wide(dtype), .master = wide(dtype)};
}

}  // namespace timepipe
