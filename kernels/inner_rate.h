#pragma once

#include "runtime/context.h"

namespace timepipe {

// The inner learner's rates (Sun et al. 2024, section 2.7; goldens "lr",
// "tok").

// Learning rate of each token and head:
//   gate[t,h] = sigmoid(u[t,:] . w[h,0,:] + bias[h,0]),  lr = scale * gate
// u: [T,C], may be bf16 beside f32; w: [H,1,C]; bias: [H,1]; gate, lr: [T,H].
// scale = base_lr / D.
void inner_rate_forward(Context& ctx, const Tensor& u, const Tensor& w,
                        const Tensor& bias, double scale, Tensor& gate,
                        Tensor& lr);

// du is added to; dw, dbias are overwritten (their sums over t are in f64).
void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias);

// Scale of each place in the mini-batch: tok[i] = max(0, 1/(i+1) +
// learnable[i]). learnable, tok: [b].
void token_scale_forward(Context& ctx, const Tensor& learnable, Tensor& tok);
// dlearnable[i] = dtok[i] where 1/(i+1) + learnable[i] >= 0, else 0.
void token_scale_backward(Context& ctx, const Tensor& dtok,
                          const Tensor& learnable, Tensor& dlearnable);

}  // namespace timepipe
