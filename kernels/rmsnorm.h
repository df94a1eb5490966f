#pragma once

#include "kernels/write.h"
#include "runtime/context.h"

namespace timepipe {

// RMS normalisation over the last dimension (Zhang & Sennrich 2019, eq. 4):
//   y[n,c] = w[c] * x[n,c] * rstd[n],  rstd[n] = 1 / sqrt(mean_c x[n,c]^2 +
//   eps)
// x, y: [N,C]; w: [C]; rstd: [N]. y may be stored in bf16 beside f32. Each row
// is computed alike whatever N is.
void rmsnorm_forward(Context& ctx, const Tensor& x, const Tensor& w, double eps,
                     Tensor& y, Tensor& rstd);

// dx is overwritten or added to; dw likewise by its own `write_dw`. The order
// of every sum is fixed by the shape.
void rmsnorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                      const Tensor& w, const Tensor& rstd, Tensor& dx,
                      Write write_dx, Tensor& dw, Write write_dw);

}  // namespace timepipe
