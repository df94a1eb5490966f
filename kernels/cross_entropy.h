#pragma once

#include <functional>

#include "kernels/segment.h"
#include "runtime/context.h"

namespace timepipe {

inline constexpr int64_t kIgnoredTarget = -100;

// Sees the logits of rows [row, row + logits.dim(0)) while they exist.
using LogitsSink = std::function<void(int64_t row, const Tensor& logits)>;

// x and table may be bf16 beside f32: then the logits' gradients are as well.
struct CrossEntropy {
  ChunkRows rows;
  const Tensor& x;        // [T,C], after the last norm; T = rows.count()
  const Tensor& table;    // [vocab,C], output embedding
  const Tensor& targets;  // [T], i64; kIgnoredTarget: no label
  const Tensor& scales;   // [members], f64: weight of each labelled row of a
                          // member (1/labels for a mean)
  LogitsSink sink = {};   // optional
};

// Rows whose logits exist at once: all of a long chunk's never do. On a CUDA
// device they take up to 64 MB in f32, enough for its products.
int64_t cross_entropy_tile_rows(int64_t vocab, Device device = {});

// Of each member, scale * sum over its labelled rows of
// -log softmax(x table^T)[target], in f64, in an order that args.rows and vocab
// fix.  losses: [members], f64. Targets are kIgnoredTarget, as in rows of no
// member, or in [0,vocab), which nobody checks here.
void cross_entropy_forward(Context& ctx, const CrossEntropy& args,
                           Tensor& losses);

// The same; overwrites dx [T,C] and dtable [vocab,C] with its gradients. The
// logits of a tile are computed once (6 C vocab FLOPs per row).
void cross_entropy_forward_backward(Context& ctx, const CrossEntropy& args,
                                    Tensor& losses, Tensor& dx, Tensor& dtable);

// losses[t] = -log softmax(logits[t])[targets[t]], in f64: what the row adds to
// the sum above, unscaled; 0 without a label. logits [T,vocab], targets [T],
// losses [T] f64.
void token_losses(Context& ctx, const Tensor& logits, const Tensor& targets,
                  Tensor& losses);

}  // namespace timepipe
