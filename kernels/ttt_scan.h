#pragma once

#include "kernels/segment.h"
#include "runtime/context.h"

namespace timepipe {

// The inner model z of a TTT layer (Sun et al. 2024, arXiv:2407.04620):
//   kLinear: z(x) = x W1 + b1                     W1 [D,D],  b1 [D]
//   kMlp:    z(x) = gelu(x W1 + b1) W2 + b2       W1 [D,4D], b1 [4D], W2 [4D,D]
enum class InnerModel { kLinear, kMlp };

// Sizes of one scan.
struct TttShape {
  InnerModel inner;
  int64_t heads, head_size, mini_batch;

  // Elements of the state of all heads: one flat buffer, laid out
  // [W1 of all heads | b1 | W2 | b2], each row-major [H, rows, columns].
  int64_t state_size() const;
};

// Elements of what the forward of a chunk of `tokens` rows keeps for the
// backward. What they are is known to the kernels alone.
int64_t ttt_scan_kept_elements(const TttShape& shape, int64_t tokens);

// A layer runs the scan in three of its parts (models/layers/ttt.h), so that a
// backend may work on all mini-batches at once where no state is needed: in
// project, before the chain of states in scan, and in output, after it;
// backward in output, before the chain, and in project, after it. So a layer
// has everything but state_in in project and reads y in output; backward it has
// dy in output and reads gradients in project, but those of states in scan. On
// host memory the chain does all.

struct TttScanForward {
  const TttShape& shape;
  const Tensor &xq, &xk, &xv;  // [T, H*D], q and k after RoPE
  const Tensor& lr;            // [T, H], inner learning rate per token
  const Tensor& tok;           // [b], scale per place in the mini-batch
  const Tensor &ln_w, &ln_b;   // [H, D]
  const Tensor& start;         // [state_size], learned start
  const Tensor& state_in;      // [state_size]; empty if segments[0].resets
  Segments segments;           // rows of a segment are cut into mini-batches
                               // of b from its first row; the last is partial
  Tensor& y;                   // [T, H*D]; 0 in rows outside every segment
  Tensor& state_out;           // [state_size]; must not alias state_in
  Tensor& kept;                // [ttt_scan_kept_elements(shape, T)]
};

// The inner loop over one chunk, in dual form. For each mini-batch with rows
// i, state W, b (kLinear; kMlp applies the same to both of its layers):
//   Z  = K W + b                    G = d/dZ of 0.5 |LN(Z) - (V - K)|^2
//   H  = lr * G                     T = tril(Q K^T + 1)
//   Zb = Q W + b - tok * (T H)      Y = Q + LN(Zb)
//   W <- W - tok[last] K^T H        b <- b - tok[last] 1^T H
// tok multiplies by the READING row; last = the last row present. eps of LN is
// 1e-6. A segment that resets starts from `start`, one that doesn't goes on
// with the state left by the previous one. Throws InvalidArgument if shapes or
// dtypes disagree or a segment lies outside the chunk.
void ttt_scan_forward(Context& ctx, const TttScanForward& args);

struct TttScanBackward {
  const TttShape& shape;
  const Tensor &xq, &xk, &xv, &lr, &tok, &ln_w, &ln_b, &start;  // as forward
  Segments segments;
  const Tensor& kept;        // as forward wrote it
  const Tensor& dy;          // [T, H*D]
  const Tensor& dstate_out;  // [state_size]; empty: zero
  Tensor &dxq, &dxk, &dxv;   // [T, H*D]; 0 in rows outside every segment
  Tensor& dlr;               // [T, H]
  Tensor& dtok;              // [b]
  Tensor &dln_w, &dln_b;     // [H, D]
  Tensor& dstate_in;         // [state_size]; 0 if segments[0].resets
  Tensor& dstart;            // [state_size]; sum of the state gradients that
                             // arrive at resets; 0 if there is none
};

// Closed-form backward of the above; every output is overwritten.
void ttt_scan_backward(Context& ctx, const TttScanBackward& args);

// Bytes of scratch that the backward takes; the forward takes less.
int64_t ttt_scan_scratch_bytes(const TttShape& shape, DType dtype);

}  // namespace timepipe
