#pragma once

// The kernels on host memory, one for each front in kernels/*.h and with its
// arguments, whose meaning is said there. The fronts (kernels/*.cc) have
// checked shapes and dtypes and opened a KernelScope, in which elements are
// reached.

#include "kernels/adamw.h"
#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/finite.h"
#include "kernels/gradient_sum.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/parameter_blocks.h"
#include "kernels/pointwise.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/step_verdict.h"
#include "kernels/ttt_decode.h"
#include "kernels/ttt_scan.h"
#include "runtime/elements.h"

namespace timepipe::cpu {

void matmul(Context& ctx, Form form, const Tensor& a, const Tensor& b,
            Tensor& c, Write write);

void embedding_forward(Context& ctx, const Tensor& ids, const Tensor& table,
                       Tensor& x);
void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dx,
                        Tensor& dtable, Write write);

void rmsnorm_forward(Context& ctx, const Tensor& x, const Tensor& w, double eps,
                     Tensor& y, Tensor& rstd);
void rmsnorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                      const Tensor& w, const Tensor& rstd, Tensor& dx,
                      Write write_dx, Tensor& dw, Write write_dw);

void layernorm_forward(Context& ctx, const Tensor& x, const Tensor& w,
                       const Tensor& b, double eps, Tensor& y, Tensor& mean,
                       Tensor& rstd);
void layernorm_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd,
                        Tensor& dx, Tensor& dw, Tensor& db);

void rope(Context& ctx, Rotation rotation, int64_t heads, int64_t mini_batch,
          double theta, Tensor& x, int64_t place);

void causal_conv_forward(Context& ctx, const Tensor& x, const Tensor& halo,
                         const Tensor& w, const Tensor& bias, Segments segments,
                         Tensor& y);
void causal_conv_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                          const Tensor& halo, const Tensor& w,
                          Segments segments, Tensor& dx, Tensor& dhalo,
                          Write write_dx, Tensor& dw, Tensor& dbias);

void add(Context& ctx, const Tensor& x, Tensor& y);
void round(Context& ctx, const Tensor& x, Tensor& y);
// The same numbers as f32 if x is bf16, else x itself.
Tensor widened(Context& ctx, const Tensor& x);
void swiglu_forward(Context& ctx, const Tensor& a, const Tensor& b, Tensor& y);
void swiglu_backward(Context& ctx, const Tensor& dy, const Tensor& a,
                     const Tensor& b, Tensor& da, Tensor& db);
void gelu_gate_forward(Context& ctx, const Tensor& x, const Tensor& g,
                       Tensor& y);
void gelu_gate_backward(Context& ctx, const Tensor& dy, const Tensor& x,
                        const Tensor& g, Tensor& dx, Tensor& dg);

void inner_rate_forward(Context& ctx, const Tensor& u, const Tensor& w,
                        const Tensor& bias, double scale, Tensor& gate,
                        Tensor& lr);
void inner_rate_backward(Context& ctx, const Tensor& dlr, const Tensor& u,
                         const Tensor& w, const Tensor& gate, double scale,
                         Tensor& du, Tensor& dw, Tensor& dbias);
void token_scale_forward(Context& ctx, const Tensor& learnable, Tensor& tok);
void token_scale_backward(Context& ctx, const Tensor& dtok,
                          const Tensor& learnable, Tensor& dlearnable);

// Without gradients if dx and dtable are null.
void cross_entropy(Context& ctx, const CrossEntropy& args, Tensor& losses,
                   Tensor* dx, Tensor* dtable);
void token_losses(Context& ctx, const Tensor& logits, const Tensor& targets,
                  Tensor& losses);

int64_t ttt_scan_kept_elements(const TttShape& shape, const ChunkRows& rows);
int64_t ttt_scan_scratch_bytes(const TttShape& shape, int64_t members,
                               DType dtype);
void ttt_scan_forward(Context& ctx, const TttScan& scan, const Tensor& start,
                      const Tensor& state_in, Tensor& state_out);
void ttt_scan_backward(Context& ctx, const TttScan& scan, TttScanGradients d,
                       const Tensor& start, const Tensor& dstate_out,
                       Tensor& dstate_in, Tensor& dstart);
void ttt_decode_forward(Context& ctx, const TttDecodeForward& args);
void ttt_decode_backward(Context& ctx, const TttDecodeBackward& args);

void push_rows(Context& ctx, const Tensor& x, const ChunkRows& rows,
               Tensor& halo);
void push_rows_backward(Context& ctx, const Tensor& dhalo,
                        const ChunkRows& rows, Tensor& dx);
void take_elements(Context& ctx, const Tensor& from, const Tensor& index,
                   Tensor& to);
bool all_finite(Context& ctx, const Tensor& x);

void gradient_sum_add(Context& ctx, const Tensor& gradient, double limit,
                      int64_t offset, Tensor& words, Tensor& refused);
void gradient_sum_values(Context& ctx, const Tensor& words, int64_t offset,
                         Tensor& values);
void block_square_sums(Context& ctx, const ParameterLayout& layout,
                       int64_t first, int64_t last, const Tensor& shard,
                       Tensor& sums);
void block_hashes(Context& ctx, const ParameterLayout& layout, int64_t first,
                  int64_t last, const Tensor& flat, Tensor& hashes);
void step_verdict(Context& ctx, const Tensor& losses, const Tensor& squares,
                  const Tensor& refused, double clip_norm, Tensor& verdict);
void adamw(Context& ctx, const AdamW& hyper, const Tensor& verdict,
           const Tensor& gradient, Tensor& m, Tensor& v, Tensor& p);

}  // namespace timepipe::cpu
