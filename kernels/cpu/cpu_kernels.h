#pragma once

// The kernels on host memory. The fronts (kernels/*.cc) have checked shapes,
// dtypes, ids and targets; the meaning of the arguments is in kernels/*.h.

#include "kernels/adamw.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"

namespace timepipe::cpu {

void matmul(Form form, const Tensor& a, const Tensor& b, Tensor& c,
            Write write);

void embedding_forward(const Tensor& ids, const Tensor& table, Tensor& x);
void embedding_backward(const Tensor& ids, const Tensor& dx, Tensor& dtable,
                        Write write);

void rmsnorm_forward(const Tensor& x, const Tensor& w, double eps, Tensor& y,
                     Tensor& rstd);
void rmsnorm_backward(const Tensor& dy, const Tensor& x, const Tensor& w,
                      const Tensor& rstd, Tensor& dx, Write write_dx,
                      Tensor& dw, Write write_dw);

void layernorm_forward(const Tensor& x, const Tensor& w, const Tensor& b,
                       double eps, Tensor& y, Tensor& mean, Tensor& rstd);
void layernorm_backward(const Tensor& dy, const Tensor& x, const Tensor& w,
                        const Tensor& mean, const Tensor& rstd, Tensor& dx,
                        Tensor& dw, Tensor& db);

void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place);

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y);
void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias);

void add(const Tensor& x, Tensor& y);
void swiglu_forward(const Tensor& a, const Tensor& b, Tensor& y);
void swiglu_backward(const Tensor& dy, const Tensor& a, const Tensor& b,
                     Tensor& da, Tensor& db);
void gelu_gate_forward(const Tensor& x, const Tensor& g, Tensor& y);
void gelu_gate_backward(const Tensor& dy, const Tensor& x, const Tensor& g,
                        Tensor& dx, Tensor& dg);

void inner_rate_forward(const Tensor& u, const Tensor& w, const Tensor& bias,
                        double scale, Tensor& gate, Tensor& lr);
void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias);
void token_scale_forward(const Tensor& learnable, Tensor& tok);
void token_scale_backward(const Tensor& dtok, const Tensor& learnable,
                          Tensor& dlearnable);

// Without gradients if dx and dtable are null.
double cross_entropy(Context& ctx, const CrossEntropy& args, Tensor* dx,
                     Tensor* dtable);
void token_losses(const Tensor& logits, const Tensor& targets, Tensor& losses);

void adamw(const AdamW& hyper, const Tensor& g, Tensor& m, Tensor& v,
           Tensor& p);

}  // namespace timepipe::cpu
