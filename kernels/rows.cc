#include "kernels/rows.h"

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {

void push_rows(Context& ctx, const Tensor& x, Tensor& halo) {
  require_matrix("x", x);
  require_tensor("halo", halo, x, {halo.dim(0), x.dim(1)});
  const KernelScope scope(ctx);
  cpu::push_rows(ctx, x, halo);
}

void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to) {
  require_same_dtype("to", to, from);
  require_dtype("index", index, DType::kI64);
  require_shape("to", to, index.shape());
  const KernelScope scope(ctx);
  cpu::take_elements(ctx, from, index, to);
}

}  // namespace timepipe
