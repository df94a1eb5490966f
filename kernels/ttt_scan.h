#pragma once

#include "kernels/segment.h"
#include "kernels/ttt_shape.h"
#include "runtime/context.h"

namespace timepipe {

// Elements of what the forward of a chunk keeps for the backward, and of what
// the parts of the backward pass on to each other. What they are is known to
// the kernels of the device alone.
int64_t ttt_scan_kept_elements(Device device, const TttShape& shape,
                               const ChunkRows& rows);
int64_t ttt_scan_passed_elements(Device device, const TttShape& shape,
                                 const ChunkRows& rows);

// One chunk's rows of a scan; all functions of one pass over it get the same.
// T = rows.count(). States of several members, each [state_size], lie one after
// the other: [members*state_size].
struct TttScan {
  TttShape shape;
  ChunkRows rows;
  Segments segments;  // rows of a segment are cut into mini-batches of b from
                      // its first row; the last is partial
  Tensor xq, xk, xv;  // [T, H*D], q and k after RoPE; may be bf16, as their
                      // gradients then are: all else is f32
  Tensor lr;          // [T, H], inner learning rate per token
  Tensor tok;         // [b], scale per place in the mini-batch
  Tensor ln_w, ln_b;  // [H, D]
  Tensor kept;        // [ttt_scan_kept_elements(device, shape, rows)]
  Tensor y;           // [T, H*D]; 0 in rows outside every segment
};

// The inner loop over one chunk, in dual form. For each mini-batch with rows
// i, state W, b (kLinear; kMlp applies the same to both of its layers):
//   Z  = K W + b                    G = d/dZ of 0.5 |LN(Z) - (V - K)|^2
//   H  = lr * G                     T = tril(Q K^T + 1)
//   Zb = Q W + b - tok * (T H)      Y = Q + LN(Zb)
//   W <- W - tok[last] K^T H        b <- b - tok[last] 1^T H
// tok multiplies by the READING row; last = the last row present. eps of LN is
// 1e-6. A segment that resets starts from `start`, one that doesn't goes on
// with the state left by the member's previous one.
//
// In three, called in this order: only the second, the chain of states, needs
// the state before the chunk, so that other ranks wait for no more than that.
// A backend works on all mini-batches at once in the first (K K^T) and in the
// third (Q K^T, Zb, Y); on host memory the chain does all. Inputs must not
// change in between; y and kept are there after the third. All throw
// InvalidArgument if shapes or dtypes disagree or a segment lies outside the
// chunk.
void ttt_scan_prepare(Context& ctx, const TttScan& scan);
// start: [state_size], the learned one. state_in: [members*state_size]; empty
// if the first segments of all members reset. state_out: [members*state_size],
// not the memory of state_in.
void ttt_scan_forward(Context& ctx, const TttScan& scan, const Tensor& start,
                      const Tensor& state_in, Tensor& state_out);
void ttt_scan_read(Context& ctx, const TttScan& scan);

struct TttScanGradients {
  Tensor dy;             // [T, H*D], given
  Tensor dxq, dxk, dxv;  // [T, H*D]; 0 in rows outside every segment
  Tensor dlr;            // [T, H]
  Tensor dtok;           // [b]
  Tensor dln_w, dln_b;   // [H, D]
  Tensor passed;         // [ttt_scan_passed_elements(device, shape, rows)],
                         // from part to part
};

// Closed-form backward of the above, in three again: from dy, before the chain;
// the chain of states' gradients; what those give. Every output is
// overwritten; those of `d` are there after the third. scan.y isn't read.
void ttt_scan_backward_read(Context& ctx, const TttScan& scan,
                            const TttScanGradients& d);
// dstate_out: [members*state_size]; empty: zero. dstate_in:
// [members*state_size]; 0 of members whose first segment resets. dstart:
// [state_size], sum of the state gradients that arrive at resets; 0 if there is
// none.
void ttt_scan_backward(Context& ctx, const TttScan& scan,
                       const TttScanGradients& d, const Tensor& start,
                       const Tensor& dstate_out, Tensor& dstate_in,
                       Tensor& dstart);
void ttt_scan_backward_finish(Context& ctx, const TttScan& scan,
                              const TttScanGradients& d);

// Bytes of scratch that a part of the backward takes at most, on the host with
// today's number of threads; the forward takes less.
int64_t ttt_scan_scratch_bytes(Device device, const TttShape& shape,
                               const ChunkRows& rows, DType dtype);

}  // namespace timepipe
