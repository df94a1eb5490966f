#include "kernels/pointwise.h"

#include <initializer_list>

#include "kernels/backend.h"
#include "kernels/checks.h"

namespace timepipe {
namespace {

struct Named {
  const char* name;
  const Tensor& tensor;
};

// All are like the first, which is of floating point or bf16.
void check_alike(std::initializer_list<Named> all) {
  const auto& [first, like] = *all.begin();
  require_floating(first, like, /*or_bf16=*/true);
  for (const auto& [name, tensor] : all) {
    require_tensor(name, tensor, like, like.shape());
  }
}

}  // namespace

void add(Context& ctx, const Tensor& x, Tensor& y) {
  require_floating("x", x);
  require_tensor("y", y, x, x.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, add, x, y);
}

void round(Context& ctx, const Tensor& x, Tensor& y) {
  require_floating("x", x);
  require_stored("y", y, x, x.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, round, x, y);
}

void swiglu_forward(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y) {
  check_alike({{"a", a}, {"b", b}, {"y", y}});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, swiglu_forward, a, b, y);
}

void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db) {
  check_alike({{"a", a}, {"dy", dy}, {"b", b}, {"da", da}, {"db", db}});
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, swiglu_backward, dy, a, b, da, db);
}

void gelu_gate_forward(Context& ctx, const Tensor& x, const Tensor& g,
                       Tensor& y) {
  require_floating("x", x);
  require_stored("g", g, x, x.shape());
  require_tensor("y", y, g, x.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, gelu_gate_forward, x, g, y);
}

void gelu_gate_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg) {
  require_floating("x", x);
  require_stored("g", g, x, x.shape());
  require_tensor("dy", dy, g, x.shape());
  require_tensor("dx", dx, x, x.shape());
  require_tensor("dg", dg, g, x.shape());
  const KernelScope scope(ctx);
  TIMEPIPE_KERNEL(ctx, gelu_gate_backward, dy, x, g, dx, dg);
}

}  // namespace timepipe
