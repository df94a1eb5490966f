#include "kernels/embedding.h"

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

void check(const Tensor& ids, const char* name, const Tensor& rows,
           const Tensor& table) {
  require_matrix("table", table);
  require_dtype("ids", ids, DType::kI64);
  require_rank("ids", ids, 1);
  require_tensor(name, rows, table, {ids.dim(0), table.dim(1)});
}

}  // namespace

void embedding_forward(Context& ctx, const Tensor& ids, const Tensor& table,
                       Tensor& x) {
  check(ids, "x", x, table);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, embedding_forward, ids, table, x);
}

void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write) {
  check(ids, "dx", dx, dtable);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, embedding_backward, ids, dx, dtable, write);
}

}  // namespace timepipe
