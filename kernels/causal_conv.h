#pragma once

#include "kernels/segment.h"
#include "kernels/write.h"
#include "runtime/context.h"

namespace timepipe {

// Depthwise causal convolution of width k over the rows of a chunk:
//   y[t,c] = bias[c] + sum_j w[c,0,j] * x[t-k+1+j, c]
// where rows before the document's first row count as zero and the k-1 rows
// before a member's first are its halo: the last k-1 rows of the previous
// chunk. Of a halo only the last min(k-1, context) rows are read, context being
// that of the member's first segment. Rows outside every segment give y = 0.
// x, y: [T,C]; halo: [members*(k-1),C] (may be empty if all contexts are 0);
// w: [C,1,k]; bias: [C]. x, y and dy may be bf16 beside f32.
void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y);

// dx (overwritten or added to), dhalo [members*(k-1),C] (likewise, by
// `write_dx`; rows that are not read get zero when overwritten; may be empty if
// all contexts are 0), dw and dbias are overwritten.
void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias);

}  // namespace timepipe
