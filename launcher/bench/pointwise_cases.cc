// Kernels whose elements stand alone.

#include "kernels/finite.h"
#include "kernels/pointwise.h"
#include "kernels/rows.h"
#include "launcher/bench/kernel_case.h"

namespace timepipe {

std::vector<KernelCase> pointwise_cases() {
  return {
      {"add", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor x = o.wide({s.tokens, s.hidden});
         Tensor y = o.changed("y", o.wide({s.tokens, s.hidden}));
         return KernelCall{[=, &ctx = o.ctx()]() mutable { add(ctx, x, y); }};
       }},
      {"round", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor x = o.wide({s.tokens, s.hidden});
         Tensor y = o.stored_result("y", {s.tokens, s.hidden});
         return KernelCall{[=, &ctx = o.ctx()]() mutable { round(ctx, x, y); }};
       }},
      {"swiglu_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Shape shape = {s.tokens, s.intermediate};
         const Tensor a = o.stored(shape), b = o.stored(shape);
         Tensor y = o.stored_result("y", shape);
         return KernelCall{
             [=, &ctx = o.ctx()]() mutable { swiglu_forward(ctx, a, b, y); }};
       }},
      {"swiglu_backward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Shape shape = {s.tokens, s.intermediate};
         const Tensor dy = o.stored(shape), a = o.stored(shape);
         const Tensor b = o.stored(shape);
         Tensor da = o.stored_result("da", shape);
         Tensor db = o.stored_result("db", shape);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           swiglu_backward(ctx, dy, a, b, da, db);
         }};
       }},
      {"gelu_gate_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Shape shape = {s.tokens, s.hidden};
         const Tensor x = o.wide(shape), g = o.stored(shape);
         Tensor y = o.stored_result("y", shape);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           gelu_gate_forward(ctx, x, g, y);
         }};
       }},
      {"gelu_gate_backward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Shape shape = {s.tokens, s.hidden};
         const Tensor dy = o.stored(shape), x = o.wide(shape);
         const Tensor g = o.stored(shape);
         Tensor dx = o.wide_result("dx", shape);
         Tensor dg = o.stored_result("dg", shape);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           gelu_gate_backward(ctx, dy, x, g, dx, dg);
         }};
       }},
      {"take_elements", false, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t n = s.tokens * s.heads;
         const Tensor from = o.wide({n}), index = o.ids(n, n);
         Tensor to = o.wide_result("to", {n});
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           take_elements(ctx, from, index, to);
         }};
       }},
      {"all_finite", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor x = o.wide({s.hidden, s.intermediate});
         Tensor finite = o.result("finite", {1}, DType::kF64);
         return KernelCall{[=, &ctx = o.ctx()] {
           const double answer = all_finite(ctx, x) ? 1 : 0;
           upload(ctx, std::span(&answer, 1), finite);
         }};
       }},
  };
}

}  // namespace timepipe
