#pragma once

#include "runtime/context.h"

namespace timepipe {

// y += x, same shape.
void add(Context& ctx, const Tensor& x, Tensor& y);

// y = x in y's type, which may be bf16 beside f32: to the nearest, ties to
// even.
void round(Context& ctx, const Tensor& x, Tensor& y);

// SwiGLU (Shazeer 2020): y = silu(a) * b, elementwise. All may be bf16.
void swiglu_forward(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
// da, db are overwritten.
void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db);

// Output gate: y = x * gelu(g), tanh form of GELU with the exact sqrt(2/pi).
// g, y, dy and dg may be bf16 beside f32.
void gelu_gate_forward(Context& ctx, const Tensor& x, const Tensor& g,
                       Tensor& y);
// dx, dg are overwritten.
void gelu_gate_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg);

}  // namespace timepipe
