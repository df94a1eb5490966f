#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/sums.h"
#include "kernels/cpu/ttt_mini_batch.h"

// One layer z(x) = x W + b of an inner model over a mini-batch of r rows, in
// dual form. k are its training inputs, h the scaled gradients at their z, q
// its reading inputs. TTT-Linear is one such layer, TTT-MLP two.

namespace timepipe::cpu::ttt {

// Room for the products of a layer w [m,n] and r rows.
template <class T>
struct LayerScratch {
  T* transposed = nullptr;  // of any operand of add_nt
  Matrix<T> square;         // [r,r]
  T* rows = nullptr;        // [r, max(m,n)]

  LayerScratch() = default;
  LayerScratch(Arena<T>& arena, int64_t r, int64_t m, int64_t n)
      : transposed(arena.take(std::max(m * n, r * std::max(m, n)))),
        square(arena.take(r, r)),
        rows(arena.take(r * std::max(m, n))) {}
};

// z = x W + b
template <class T>
void apply(Matrix<T> x, const Layer<T>& layer, Matrix<T> z) {
  for (int64_t i = 0; i < z.rows; ++i) {
    std::copy_n(layer.b.data, z.cols, z.row(i));
  }
  add_nn(x, layer.w, z);
}

template <class T>
void clear_above_diagonal(Matrix<T> m) {
  for (int64_t i = 0; i < m.rows; ++i) {
    std::fill(m.row(i) + i + 1, m.row(i) + m.cols, T(0));
  }
}

// to[i,:] = tok[i] * from[i,:]
template <class T>
void scale_rows(const T* tok, Matrix<T> from, Matrix<T> to) {
  for (int64_t i = 0; i < to.rows; ++i) {
    for (int64_t j = 0; j < to.cols; ++j) {
      to.row(i)[j] = tok[i] * from.row(i)[j];
    }
  }
}

// The layer as each row i reads it, after the steps of the rows up to i:
//   gram = tril(q k^T + 1),  zb = q W + b - tok * (gram h + q N + n)
// sum: N and n, of the mini-batch's tokens before these rows; empty: none.
template <class T>
void read(Matrix<T> q, Matrix<T> k, Matrix<T> h, const T* tok,
          const Layer<T>& layer, const Layer<T>& sum, Matrix<T> gram,
          Matrix<T> zb, const LayerScratch<T>& scratch) {
  fill(gram, T(1));
  add_nt(q, k, gram, scratch.transposed);
  clear_above_diagonal(gram);
  apply(q, layer, zb);
  scale_rows(tok, gram, scratch.square);
  add_nn(scratch.square, h, zb, -1);
  if (sum.w.data == nullptr) return;
  const Matrix<T> read{scratch.rows, zb.rows, zb.cols, zb.cols};
  apply(q, sum, read);
  for (int64_t i = 0; i < zb.rows; ++i) {
    for (int64_t j = 0; j < zb.cols; ++j) {
      zb.row(i)[j] -= tok[i] * read.row(i)[j];
    }
  }
}

// W <- W - rate k^T h,  b <- b - rate 1^T h
template <class T>
void step(Matrix<T> k, Matrix<T> h, T rate, const Layer<T>& layer) {
  add_tn(k, h, layer.w, -rate);
  for (int64_t i = 0; i < h.rows; ++i) {
    for (int64_t j = 0; j < h.cols; ++j) {
      layer.b.data[j] -= rate * h.row(i)[j];
    }
  }
}

// In f64: the gradients of lr and tok are sums that cancel.
template <class T>
double dot(int64_t n, const T* x, const T* y) {
  return sum_over(n, [=](int64_t j) { return double{x[j]} * double{y[j]}; });
}

// Adds to the layer's gradient what arrives at alpha (x W + b).
template <class T>
void apply_backward(Matrix<T> x, Matrix<T> dz, const Layer<T>& dlayer,
                    std::type_identity_t<T> alpha = 1) {
  add_tn(x, dz, dlayer.w, alpha);
  for (int64_t i = 0; i < dz.rows; ++i) {
    for (int64_t j = 0; j < dz.cols; ++j) {
      dlayer.b.data[j] += alpha * dz.row(i)[j];
    }
  }
}

// Backward of read's term of the earlier tokens: adds to dq, dsum and dtok.
template <class T>
void read_sum_backward(Matrix<T> q, const T* tok, const Layer<T>& sum,
                       Matrix<T> dzb, Matrix<T> dq, const Layer<T>& dsum,
                       double* dtok, const LayerScratch<T>& scratch) {
  const Matrix<T> rows{scratch.rows, dzb.rows, dzb.cols, dzb.cols};
  apply(q, sum, rows);
  for (int64_t i = 0; i < rows.rows; ++i) {
    dtok[i] -= dot(rows.cols, rows.row(i), dzb.row(i));
  }
  scale_rows(tok, dzb, rows);
  add_nt(rows, sum.w, dq, scratch.transposed, -1);
  apply_backward(q, rows, dsum, -1);
}

// Backward of read, without its part in the layer's gradient (see
// apply_backward). Writes dq and dh, adds to dk, dsum and dtok.
template <class T>
void read_backward(Matrix<T> q, Matrix<T> k, Matrix<T> h, const T* tok,
                   const Layer<T>& layer, const Layer<T>& sum, Matrix<T> gram,
                   Matrix<T> dzb, Matrix<T> dq, Matrix<T> dk, Matrix<T> dh,
                   const Layer<T>& dsum, double* dtok,
                   const LayerScratch<T>& scratch) {
  const Matrix<T> m = scratch.square;
  scale_rows(tok, gram, m);
  fill(dh, T(0));
  add_tn(m, dzb, dh, -1);

  fill(m, T(0));  // tril(dzb h^T)
  add_nt(dzb, h, m, scratch.transposed);
  clear_above_diagonal(m);
  for (int64_t i = 0; i < m.rows; ++i) {
    dtok[i] -= dot(i + 1, gram.row(i), m.row(i));
  }
  scale_rows(tok, m, m);

  fill(dq, T(0));
  add_nt(dzb, layer.w, dq, scratch.transposed);
  add_nn(m, k, dq, -1);
  add_tn(m, q, dk, -1);
  if (sum.w.data == nullptr) return;
  read_sum_backward(q, tok, sum, dzb, dq, dsum, dtok, scratch);
}

// Backward of step, given the gradient of the layer after it: adds to dh, dk
// and drate. The gradient of the layer passes through unchanged.
template <class T>
void step_backward(Matrix<T> k, Matrix<T> h, T rate, const Layer<T>& dlayer,
                   Matrix<T> dh, Matrix<T> dk, double& drate,
                   const LayerScratch<T>& scratch) {
  const Matrix<T> r{scratch.rows, h.rows, h.cols, h.cols};
  apply(k, dlayer, r);
  for (int64_t i = 0; i < r.rows; ++i) {
    for (int64_t j = 0; j < r.cols; ++j) {
      dh.row(i)[j] -= rate * r.row(i)[j];
    }
    drate -= dot(r.cols, h.row(i), r.row(i));
  }
  add_nt(h, dlayer.w, dk, scratch.transposed, -rate);
}

// Backward of h = lr * g: turns dh into dg, adds to dlr.
template <class T>
void rate_backward(const T* lr, Matrix<T> g, Matrix<T> dh, T* dlr) {
  for (int64_t i = 0; i < g.rows; ++i) {
    dlr[i] += static_cast<T>(dot(g.cols, g.row(i), dh.row(i)));
    for (int64_t j = 0; j < g.cols; ++j) dh.row(i)[j] *= lr[i];
  }
}

}  // namespace timepipe::cpu::ttt
