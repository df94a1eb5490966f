#pragma once

#include "runtime/context.h"

namespace timepipe {

// Layer normalisation over the last dimension (Ba et al. 2016):
//   y[n,c] = w[c] * (x[n,c] - mean[n]) * rstd[n] + b[c]
// mean and variance over c, rstd = 1/sqrt(var + eps), two passes.
// x, y: [N,C]; w, b: [C]; mean, rstd: [N]. y may be stored in bf16 beside f32.
void layernorm_forward(Context& ctx, const Tensor& x, const Tensor& w,
                       const Tensor& b, double eps, Tensor& y, Tensor& mean,
                       Tensor& rstd);

// dx, dw, db are overwritten.
void layernorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd,
                        Tensor& dx, Tensor& dw, Tensor& db);

}  // namespace timepipe
