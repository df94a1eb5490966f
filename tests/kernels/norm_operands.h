#pragma once

// What the tests of both norms read and write.

#include "tests/support/tensors.h"

namespace timepipe::testing {

struct NormOperands {
  // Of N rows of width C.
  NormOperands(Context& ctx, int64_t N, int64_t C, DType dtype, uint64_t seed) {
    Generator rng(seed);
    x = normal(ctx, rng, {N, C}, dtype);
    w = normal(ctx, rng, {C}, dtype);
    b = normal(ctx, rng, {C}, dtype);
    dy = normal(ctx, rng, {N, C}, dtype);
    clear(ctx);
  }
  // The same operands in f64, with outputs of their own.
  NormOperands in_f64(Context& ctx) const {
    NormOperands o = *this;
    for (Tensor* t : {&o.x, &o.w, &o.b, &o.dy}) {
      *t = from_f64(ctx, to_f64(ctx, *t), t->shape(), DType::kF64);
    }
    o.clear(ctx);
    return o;
  }
  void clear(Context& ctx) {
    const int64_t N = x.dim(0), C = x.dim(1);
    for (Tensor* t : {&y, &dx}) *t = nans(ctx, {N, C}, x.dtype());
    for (Tensor* t : {&mean, &rstd}) *t = nans(ctx, {N}, x.dtype());
    for (Tensor* t : {&dw, &db}) *t = nans(ctx, {C}, x.dtype());
  }
  Tensor x, w, b, dy;                // [N, C], [C], [C], [N, C]
  Tensor y, mean, rstd, dx, dw, db;  // [N, C], [N], [N], [N, C], [C], [C]
};

}  // namespace timepipe::testing
