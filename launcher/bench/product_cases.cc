// Products, and the loss, which is products for the most part.

#include "kernels/cross_entropy.h"
#include "kernels/matmul.h"
#include "launcher/bench/kernel_case.h"

namespace timepipe {
namespace {

// The projection of T rows from C to F elements: y = x W^T, dx = dy W and
// dW = dy^T x.
KernelCase matmul_case(Form form, std::string name, bool wide_c) {
  const auto make = [=](Operands& o, const BenchSizes& s) {
    const int64_t T = s.tokens, C = s.hidden, F = s.intermediate;
    const Tensor a = o.stored({T, form == Form::kNT ? C : F}, 1);
    const Tensor b =
        form == Form::kTN ? o.stored({T, C}, 1) : o.stored({F, C}, 0.02);
    const Shape shape = form == Form::kNN   ? Shape{T, C}
                        : form == Form::kNT ? Shape{T, F}
                                            : Shape{F, C};
    const int64_t terms = form == Form::kNN ? F : form == Form::kNT ? C : T;
    Tensor c = wide_c ? o.wide_result("c", shape, terms)
                      : o.stored_result("c", shape, terms);
    return KernelCall{
        [=, &ctx = o.ctx()]() mutable { matmul(ctx, form, a, b, c); },
        2. * T * C * F};
  };
  return {std::move(name), /*in_bf16=*/true, /*same_types=*/false, make};
}

// Of T rows with one label each; 2 C vocab FLOPs a row and product.
KernelCase loss_case(std::string name, bool backward) {
  const auto make = [=](Operands& o, const BenchSizes& s) {
    const int64_t T = s.tokens, C = s.hidden, V = s.vocab;
    const Tensor x = o.stored({T, C}), table = o.stored({V, C}, 0.02);
    const Tensor targets = o.ids(T, V), scales = o.f64({1});
    Tensor losses = o.result("losses", {1}, DType::kF64, C);
    const auto args = [=] {
      return CrossEntropy{rows_of_one(T), x, table, targets, scales};
    };
    if (!backward) {
      return KernelCall{[=, &ctx = o.ctx()]() mutable {
                          cross_entropy_forward(ctx, args(), losses);
                        },
                        2. * T * C * V};
    }
    Tensor dx = o.sum_of_stored("dx", {T, C}, V);
    Tensor dtable = o.sum_of_stored("dtable", {V, C}, T);
    return KernelCall{[=, &ctx = o.ctx()]() mutable {
                        cross_entropy_forward_backward(ctx, args(), losses, dx,
                                                       dtable);
                      },
                      6. * T * C * V};
  };
  return {std::move(name), /*in_bf16=*/true, /*same_types=*/false, make};
}

}  // namespace

std::vector<KernelCase> product_cases() {
  return {
      matmul_case(Form::kNT, "matmul NT", /*wide_c=*/false),
      matmul_case(Form::kNN, "matmul NN", /*wide_c=*/false),
      matmul_case(Form::kTN, "matmul TN", /*wide_c=*/true),
      loss_case("cross_entropy_forward", /*backward=*/false),
      loss_case("cross_entropy_forward_backward", /*backward=*/true),
      {"token_losses", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor logits = o.wide({s.tokens, s.vocab});
         const Tensor targets = o.ids(s.tokens, s.vocab);
         Tensor losses = o.result("losses", {s.tokens}, DType::kF64, s.vocab);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           token_losses(ctx, logits, targets, losses);
         }};
       }},
  };
}

}  // namespace timepipe
