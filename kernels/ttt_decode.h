#pragma once

#include "kernels/ttt_scan.h"

namespace timepipe {

// Some of the tokens of one mini-batch, the earlier ones known by their
// gradient sum alone: what decoding does, O(state) per token.
struct TttDecodeForward {
  const TttShape& shape;
  const Tensor &xq, &xk, &xv;  // [r, H*D], r <= mini_batch, after RoPE; may be
                               // bf16, as their gradients then are
  const Tensor& lr;            // [r, H]
  const Tensor& tok;           // [r], of these rows' places
  const Tensor &ln_w, &ln_b;   // [H, D]
  const Tensor& state;         // [state_size], before the mini-batch
  const Tensor& sum_in;        // [state_size], sum of lr * gradient of the
                               // mini-batch's tokens before these; laid out as
                               // the state
  Tensor& y;                   // [r, H*D]
  Tensor& sum_out;             // [state_size]; may be sum_in itself
  Tensor& state_last;          // [state_size], what the last row reads; may be
                               // state itself; empty: not wanted
};

// Row i reads S_i = state - tok[i] * (sum_in + sum of lr_s * grad_s, s <= i);
// all gradients are those at `state`, as in ttt_scan_forward. This knows no
// place: who reads the mini-batch's last token goes on with state_last and a
// sum of zero. Throws InvalidArgument if shapes or dtypes disagree.
void ttt_decode_forward(Context& ctx, const TttDecodeForward& args);

struct TttDecodeBackward {
  const TttShape& shape;
  const Tensor &xq, &xk, &xv, &lr, &tok, &ln_w, &ln_b;  // as forward
  const Tensor &state, &sum_in;
  const Tensor& dy;           // [r, H*D]
  const Tensor& dsum_out;     // [state_size]; empty: zero
  const Tensor& dstate_last;  // [state_size]; empty: zero
  Tensor &dxq, &dxk, &dxv;    // [r, H*D]
  Tensor& dlr;                // [r, H]
  Tensor& dtok;               // [r]
  Tensor &dln_w, &dln_b;      // [H, D]
  Tensor &dstate, &dsum_in;   // [state_size], not the inputs' memory
};

// Closed-form backward of the above; every output is overwritten.
void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args);

}  // namespace timepipe
