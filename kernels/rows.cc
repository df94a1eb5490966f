#include "kernels/rows.h"

#include <string>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {

namespace {

// Of x, or its gradient, and a halo of each member.
void check(const char* name, const Tensor& x, const ChunkRows& rows,
           const char* halo_name, const Tensor& halo) {
  require_members(rows);
  require_matrix(name, x, /*or_bf16=*/true);
  require_shape(name, x, {rows.count(), x.dim(1)});
  require_wide(halo_name, halo, x, {halo.dim(0), x.dim(1)});
  require(halo.dim(0) % rows.members == 0, halo_name, ": ", halo.dim(0),
          " rows, expected a multiple of ", rows.members);
}

}  // namespace

void push_rows(Context& ctx, const Tensor& x, const ChunkRows& rows,
               Tensor& halo) {
  check("x", x, rows, "halo", halo);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, push_rows, x, rows, halo);
}

void push_rows_backward(Context& ctx, const Tensor& dhalo,
                        const ChunkRows& rows, Tensor& dx) {
  check("dx", dx, rows, "dhalo", dhalo);
  require_floating("dx", dx);
  require(dhalo.dim(0) / rows.members <= rows.tokens,
          "rows.tokens: ", rows.tokens, ", expected those of a halo or more, ",
          dhalo.dim(0) / rows.members);
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, push_rows_backward, dhalo, rows, dx);
}

void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to) {
  require_same_dtype("to", to, from);
  require_dtype("index", index, DType::kI64);
  require_shape("to", to, index.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, take_elements, from, index, to);
}

}  // namespace timepipe
