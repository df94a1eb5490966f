#pragma once

#include <functional>

#include "runtime/context.h"

namespace timepipe {

inline constexpr int64_t kIgnoredTarget = -100;

// Sees the logits of rows [row, row + logits.dim(0)) while they exist.
using LogitsSink = std::function<void(int64_t row, const Tensor& logits)>;

struct CrossEntropy {
  const Tensor& x;        // [T,C], after the last norm
  const Tensor& table;    // [vocab,C], output embedding
  const Tensor& targets;  // [T], i64; kIgnoredTarget: no label
  double scale;           // weight of each labelled row (1/labels for a mean)
  LogitsSink sink = {};   // optional
};

// Rows whose logits exist at once: a whole chunk's never do.
int64_t cross_entropy_tile_rows(int64_t vocab);

// scale * sum over labelled rows of -log softmax(x table^T)[target], in f64,
// rows in order. Throws InvalidArgument naming row and target if a target is
// neither kIgnoredTarget nor in [0,vocab).
double cross_entropy_forward(Context& ctx, const CrossEntropy& args);

// The same value; overwrites dx [T,C] and dtable [vocab,C] with its gradients.
// The logits of a tile are computed once (6 C vocab FLOPs per row).
double cross_entropy_forward_backward(Context& ctx, const CrossEntropy& args,
                                      Tensor& dx, Tensor& dtable);

// losses[t] = -log softmax(logits[t])[targets[t]], in f64: what the row adds to
// the sum above, unscaled; 0 without a label. logits [T,vocab], targets [T],
// losses [T] f64. Throws as cross_entropy_forward does.
void token_losses(const Tensor& logits, const Tensor& targets, Tensor& losses);

}  // namespace timepipe
