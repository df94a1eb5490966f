#include "kernels/pointwise.h"

#include "kernels/checks.h"
#include "kernels/cpu/cpu_kernels.h"

namespace timepipe {
namespace {

void check_like(const char* name, const Tensor& tensor, const Tensor& like) {
  require_tensor(name, tensor, like, like.shape());
}

}  // namespace

void add(Context&, const Tensor& x, Tensor& y) {
  require_floating("x", x);
  check_like("y", y, x);
  cpu::add(x, y);
}

void swiglu_forward(Context&, const Tensor& a, const Tensor& b, Tensor& y) {
  require_floating("a", a);
  check_like("b", b, a);
  check_like("y", y, a);
  cpu::swiglu_forward(a, b, y);
}

void swiglu_backward(Context&, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db) {
  require_floating("a", a);
  check_like("dy", dy, a);
  check_like("b", b, a);
  check_like("da", da, a);
  check_like("db", db, a);
  cpu::swiglu_backward(dy, a, b, da, db);
}

void gelu_gate_forward(Context&, const Tensor& x, const Tensor& g, Tensor& y) {
  require_floating("x", x);
  check_like("g", g, x);
  check_like("y", y, x);
  cpu::gelu_gate_forward(x, g, y);
}

void gelu_gate_backward(Context&, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg) {
  require_floating("x", x);
  check_like("dy", dy, x);
  check_like("g", g, x);
  check_like("dx", dx, x);
  check_like("dg", dg, x);
  cpu::gelu_gate_backward(dy, x, g, dx, dg);
}

}  // namespace timepipe
