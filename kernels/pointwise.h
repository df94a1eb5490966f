#pragma once

#include "runtime/context.h"

namespace timepipe {

// y += x, same shape.
void add(Context& ctx, const Tensor& x, Tensor& y);

// SwiGLU (Shazeer 2020): y = silu(a) * b, elementwise.
void swiglu_forward(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
// da, db are overwritten.
void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db);

// Output gate: y = x * gelu(g), tanh form of GELU with the exact sqrt(2/pi).
void gelu_gate_forward(Context& ctx, const Tensor& x, const Tensor& g,
                       Tensor& y);
// dx, dg are overwritten.
void gelu_gate_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg);

}  // namespace timepipe
