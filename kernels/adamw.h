#pragma once

#include "runtime/context.h"

namespace timepipe {

struct AdamW {
  double lr, beta1, beta2, eps, weight_decay;
  int64_t step;  // updates before this one: the bias correction is 1 -
                 // beta^(step+1)
};

// AdamW with decoupled decay (Loshchilov & Hutter 2019), all tensors [N]:
//   g = factor * gradient, of `verdict` (kernels/step_verdict.h)
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//   p -= lr * ( (m/(1-b1^(s+1))) / (sqrt(v/(1-b2^(s+1))) + eps) + decay * p )
// Writes nothing if the verdict is that the step isn't finite.
void adamw(Context& ctx, const AdamW& hyper, const Tensor& verdict,
           const Tensor& gradient, Tensor& m, Tensor& v, Tensor& p);

}  // namespace timepipe
