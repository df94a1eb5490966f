// Kernels that work on rows of tokens: embedding, norms, rotation, convolution,
// rates, and the rows between chunks.

#include "kernels/causal_conv.h"
#include "kernels/embedding.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "launcher/bench/kernel_case.h"

namespace timepipe {
namespace {

constexpr double kEps = 1e-6;
constexpr int64_t kWidth = 4;  // of the convolution

std::vector<KernelCase> embedding_cases() {
  return {
      {"embedding_forward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor ids = o.ids(s.tokens, s.vocab);
         const Tensor table = o.wide({s.vocab, s.hidden});
         Tensor x = o.wide_result("x", {s.tokens, s.hidden});
         const auto run = [=, &ctx = o.ctx()]() mutable {
           embedding_forward(ctx, ids, table, x);
         };
         return KernelCall{
             run, 0, static_cast<double>(table.size_bytes() - x.size_bytes())};
       }},
      {"embedding_backward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor ids = o.ids(s.tokens, s.vocab);
         const Tensor dx = o.wide({s.tokens, s.hidden});
         Tensor dtable = o.wide_result("dtable", {s.vocab, s.hidden}, s.tokens);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           embedding_backward(ctx, ids, dx, dtable, Write::kOverwrite);
         }};
       }},
  };
}

std::vector<KernelCase> norm_cases() {
  return {
      {"rmsnorm_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t N = s.tokens, C = s.hidden;
         const Tensor x = o.wide({N, C}), w = o.wide({C});
         Tensor y = o.stored_result("y", {N, C}, C);
         Tensor rstd = o.wide_result("rstd", {N}, C);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           rmsnorm_forward(ctx, x, w, kEps, y, rstd);
         }};
       }},
      {"rmsnorm_backward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t N = s.tokens, C = s.hidden;
         const Tensor dy = o.wide({N, C}), x = o.wide({N, C}), w = o.wide({C});
         const Tensor rstd = o.positive({N}, 1);
         Tensor dx = o.wide_result("dx", {N, C}, C);
         Tensor dw = o.wide_result("dw", {C}, N);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           rmsnorm_backward(ctx, dy, x, w, rstd, dx, Write::kOverwrite, dw,
                            Write::kOverwrite);
         }};
       }},
      {"layernorm_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t N = s.tokens, C = s.hidden;
         const Tensor x = o.wide({N, C}), w = o.wide({C}), b = o.wide({C});
         Tensor y = o.stored_result("y", {N, C}, C);
         Tensor mean = o.wide_result("mean", {N}, C);
         Tensor rstd = o.wide_result("rstd", {N}, C);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           layernorm_forward(ctx, x, w, b, kEps, y, mean, rstd);
         }};
       }},
      {"layernorm_backward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t N = s.tokens, C = s.hidden;
         const Tensor dy = o.wide({N, C}), x = o.wide({N, C}), w = o.wide({C});
         const Tensor mean = o.wide({N}, 0.01), rstd = o.positive({N}, 1);
         Tensor dx = o.wide_result("dx", {N, C}, C);
         Tensor dw = o.wide_result("dw", {C}, N);
         Tensor db = o.wide_result("db", {C}, N);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           layernorm_backward(ctx, dy, x, w, mean, rstd, dx, dw, db);
         }};
       }},
  };
}

std::vector<KernelCase> conv_cases() {
  return {
      {"causal_conv_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t T = s.tokens, C = s.hidden;
         const Tensor x = o.stored({T, C}), halo = o.wide({kWidth - 1, C});
         const Tensor w = o.wide({C, 1, kWidth}), bias = o.wide({C});
         Tensor y = o.stored_result("y", {T, C}, kWidth);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
                             const Segment all[] = {{0, T, kWidth, false}};
                             causal_conv_forward(ctx, x, halo, w, bias, all, y);
                           },
                           2. * kWidth * T * C};
       }},
      {"causal_conv_backward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t T = s.tokens, C = s.hidden;
         const Tensor dy = o.stored({T, C}), x = o.stored({T, C});
         const Tensor halo = o.wide({kWidth - 1, C});
         const Tensor w = o.wide({C, 1, kWidth});
         Tensor dx = o.wide_result("dx", {T, C}, kWidth);
         Tensor dhalo = o.wide_result("dhalo", {kWidth - 1, C}, kWidth);
         Tensor dw = o.wide_result("dw", {C, 1, kWidth}, T);
         Tensor dbias = o.wide_result("dbias", {C}, T);
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
                             const Segment all[] = {{0, T, kWidth, false}};
                             causal_conv_backward(ctx, dy, x, halo, w, all, dx,
                                                  dhalo, Write::kOverwrite, dw,
                                                  dbias);
                           },
                           4. * kWidth * T * C};
       }},
      {"push_rows", true, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor x = o.stored({s.tokens, s.hidden});
         Tensor halo = o.changed("halo", o.wide({kWidth - 1, s.hidden}));
         const ChunkRows rows = rows_of_one(s.tokens);
         const auto unread =
             static_cast<double>(x.slice(kWidth - 1, s.tokens).size_bytes());
         return KernelCall{
             [=, &ctx = o.ctx()]() mutable { push_rows(ctx, x, rows, halo); },
             0, unread};
       }},
      {"push_rows_backward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor dhalo = o.wide({kWidth - 1, s.hidden});
         Tensor dx = o.changed("dx", o.wide({s.tokens, s.hidden}));
         const ChunkRows rows = rows_of_one(s.tokens);
         const auto unread = static_cast<double>(
             2 * dx.slice(kWidth - 1, s.tokens).size_bytes());
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
                             push_rows_backward(ctx, dhalo, rows, dx);
                           },
                           0, unread};
       }},
  };
}

std::vector<KernelCase> rate_cases() {
  return {
      {"inner_rate_forward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t T = s.tokens, C = s.hidden, H = s.heads;
         const Tensor u = o.stored({T, C}), w = o.wide({H, 1, C}, 0.02);
         const Tensor bias = o.wide({H, 1});
         Tensor gate = o.wide_result("gate", {T, H}, C);
         Tensor lr = o.wide_result("lr", {T, H}, C);
         return KernelCall{[=, &ctx = o.ctx(), D = s.head_size()]() mutable {
                             inner_rate_forward(ctx, u, w, bias, 1. / D, gate,
                                                lr);
                           },
                           2. * T * C * H};
       }},
      {"inner_rate_backward", true, false,
       [](Operands& o, const BenchSizes& s) {
         const int64_t T = s.tokens, C = s.hidden, H = s.heads;
         const Tensor dlr = o.wide({T, H}), u = o.stored({T, C});
         const Tensor w = o.wide({H, 1, C}, 0.02);
         const Tensor gate = o.positive({T, H}, 1);
         Tensor du = o.changed("du", o.wide({T, C}), H);
         Tensor dw = o.wide_result("dw", {H, 1, C}, T);
         Tensor dbias = o.wide_result("dbias", {H, 1}, T);
         return KernelCall{[=, &ctx = o.ctx(), D = s.head_size()]() mutable {
                             inner_rate_backward(ctx, dlr, u, w, gate, 1. / D,
                                                 du, dw, dbias);
                           },
                           4. * T * C * H};
       }},
      {"token_scale_forward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor learnable = o.wide({s.mini_batch}, 0.1);
         Tensor tok = o.wide_result("tok", {s.mini_batch});
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           token_scale_forward(ctx, learnable, tok);
         }};
       }},
      {"token_scale_backward", false, false,
       [](Operands& o, const BenchSizes& s) {
         const Tensor dtok = o.wide({s.mini_batch});
         const Tensor learnable = o.wide({s.mini_batch}, 0.1);
         Tensor dlearnable = o.wide_result("dlearnable", {s.mini_batch});
         return KernelCall{[=, &ctx = o.ctx()]() mutable {
           token_scale_backward(ctx, dtok, learnable, dlearnable);
         }};
       }},
      {"rope", true, false,
       [](Operands& o, const BenchSizes& s) {
         Tensor x = o.changed("x", o.stored({s.tokens, s.hidden}), 2);
         return KernelCall{
             [=, &ctx = o.ctx(), H = s.heads, b = s.mini_batch]() mutable {
               rope(ctx, Rotation::kForward, H, b, /*theta=*/1e4, x);
             }};
       }},
  };
}

}  // namespace

std::vector<KernelCase> row_cases() {
  std::vector<KernelCase> all;
  for (auto part : {embedding_cases, norm_cases, conv_cases, rate_cases}) {
    for (KernelCase& one : part()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace timepipe
