#pragma once

// What the fronts of the TTT kernels check alike (ttt_scan.h, ttt_decode.h).

#include <string>

#include "kernels/checks.h"
#include "kernels/ttt_scan.h"

namespace timepipe {

inline void require_positive(const char* name, int64_t value) {
  require(value >= 1, "shape.", name, ": ", value, ", expected 1 or more");
}

// Sizes, and what has a row per token or belongs to the heads' norm.
template <class Args>
void check_rows(const Args& args) {
  const TttShape& shape = args.shape;
  require_positive("heads", shape.heads);
  require_positive("head_size", shape.head_size);
  require_positive("mini_batch", shape.mini_batch);
  const int64_t H = shape.heads, D = shape.head_size;
  const Tensor& xq = args.xq;
  require_matrix("xq", xq, /*or_bf16=*/true);
  require(xq.dim(1) == H * D, "xq: shape ", xq.shape(), ", expected [T,", H * D,
          "]");
  const int64_t T = xq.dim(0);
  require_tensor("xk", args.xk, xq, {T, H * D});
  require_tensor("xv", args.xv, xq, {T, H * D});
  require_wide("lr", args.lr, xq, {T, H});
  require_wide("ln_w", args.ln_w, xq, {H, D});
  require_wide("ln_b", args.ln_b, xq, {H, D});
}

// The gradients of these and of tok, and that of y.
template <class Args, class Gradients>
void check_row_gradients(const Args& args, const Gradients& d) {
  const Tensor& xq = args.xq;
  const int64_t H = args.shape.heads, D = args.shape.head_size;
  require_wide("dy", d.dy, xq, xq.shape());
  require_tensor("dxq", d.dxq, xq, xq.shape());
  require_tensor("dxk", d.dxk, xq, xq.shape());
  require_tensor("dxv", d.dxv, xq, xq.shape());
  require_wide("dlr", d.dlr, xq, {xq.dim(0), H});
  require_wide("dtok", d.dtok, xq, args.tok.shape());
  require_wide("dln_w", d.dln_w, xq, {H, D});
  require_wide("dln_b", d.dln_b, xq, {H, D});
}

}  // namespace timepipe
