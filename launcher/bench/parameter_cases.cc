// What a step does with gradients and weights, for one matrix of the MLP.

#include "kernels/adamw.h"
#include "kernels/gradient_sum.h"
#include "kernels/parameter_blocks.h"
#include "kernels/step_verdict.h"
#include "launcher/bench/kernel_case.h"

namespace timepipe {
namespace {

ParameterLayout layout_of(const BenchSizes& s) {
  ParameterLayout layout;
  layout.add("weight", {s.hidden, s.intermediate});
  return layout;
}

// A verdict of a finite step that isn't clipped.
Tensor plain_verdict(Context& ctx) {
  const double verdict[kVerdictSize] = {1, 1, 1, 1};
  Tensor made = ctx.allocate({kVerdictSize}, DType::kF64);
  upload(ctx, std::span<const double>(verdict), made);
  return made;
}

// Sums of gradients, below 2^10 in size.
constexpr double kLimit = 1024;

KernelCall add_gradient(Operands& o, const BenchSizes& s) {
  const int64_t n = s.hidden * s.intermediate;
  const Tensor gradient = o.wide({n});
  Tensor words =
      o.ctx().zeros({gradient_sum_words(o.wide_type()), n}, DType::kI64);
  Tensor refused = o.ctx().zeros({1}, DType::kI64);
  Tensor values = o.wide_result("values", {n});
  const auto words_alone =
      static_cast<double>(values.size_bytes() - 2 * words.size_bytes());
  return {[=, &ctx = o.ctx()]() mutable {
            gradient_sum_add(ctx, gradient, kLimit, 0, words, refused);
          },
          0, words_alone,
          [=, &ctx = o.ctx()]() mutable {
            gradient_sum_values(ctx, words, 0, values);
          }};
}

KernelCall gradient_values(Operands& o, const BenchSizes& s) {
  const int64_t n = s.hidden * s.intermediate;
  const Tensor gradient = o.wide({n});
  Tensor words =
      o.ctx().zeros({gradient_sum_words(o.wide_type()), n}, DType::kI64);
  Tensor refused = o.ctx().zeros({1}, DType::kI64);
  gradient_sum_add(o.ctx(), gradient, kLimit, 0, words, refused);
  Tensor values = o.wide_result("values", {n});
  const auto words_alone =
      static_cast<double>(gradient.size_bytes() - words.size_bytes());
  return {[=, &ctx = o.ctx()]() mutable {
            gradient_sum_values(ctx, words, 0, values);
          },
          0, words_alone};
}

}  // namespace

std::vector<KernelCase> parameter_cases() {
  return {
      {"gradient_sum_add", false, false, add_gradient},
      {"gradient_sum_values", false, false, gradient_values},
      {"block_square_sums", false, false,
       [](Operands& o, const BenchSizes& s) {
         const ParameterLayout layout = layout_of(s);
         const Tensor shard = o.wide({layout.numel()});
         Tensor sums = o.result("sums", {layout.num_blocks()}, DType::kF64);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           block_square_sums(ctx, layout, 0, layout.num_blocks(), shard, sums);
         }};
       }},
      {"block_hashes", false, /*same_types=*/true,
       [](Operands& o, const BenchSizes& s) {
         const ParameterLayout layout = layout_of(s);
         const Tensor flat = o.wide({layout.numel()});
         Tensor hashes = o.result("hashes", {layout.num_blocks()}, DType::kI64);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           block_hashes(ctx, layout, 0, layout.num_blocks(), flat, hashes);
         }};
       }},
      {"step_verdict", false, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t blocks = layout_of(s).num_blocks();
         const Tensor losses = o.f64({16}), squares = o.positive_f64({blocks});
         const Tensor refused = o.ids(4, 1);
         Tensor verdict = o.result("verdict", {kVerdictSize}, DType::kF64);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           step_verdict(ctx, losses, squares, refused, /*clip_norm=*/1,
                        verdict);
         }};
       }},
      {"adamw", false, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t n = s.hidden * s.intermediate;
         const AdamW hyper = {1e-3, 0.9, 0.95, 1e-8, 0.1, /*step=*/10};
         const Tensor gradient = o.wide({n}), verdict = plain_verdict(o.ctx());
         Tensor m = o.changed("m", o.wide({n}));
         Tensor v = o.changed("v", o.positive({n}, 1));
         Tensor p = o.changed("p", o.wide({n}));
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           adamw(ctx, hyper, verdict, gradient, m, v, p);
         }};
       }},
  };
}

}  // namespace timepipe
