#pragma once

#include "kernels/write.h"
#include "runtime/context.h"

namespace timepipe {

// x[t,:] = table[ids[t],:].  ids: [T], i64; table: [vocab,C]; x: [T,C].
// Ids are in [0,vocab), which nobody checks here.
void embedding_forward(Context& ctx, const Tensor& ids, const Tensor& table,
                       Tensor& x);

// dtable[v,:] = sum of dx[t,:] over ids[t] = v, in the order of t (kAdd: added
// to dtable in that order).
void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write);

}  // namespace timepipe
