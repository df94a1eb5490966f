#pragma once

#include <cstdint>
#include <type_traits>

namespace timepipe::cpu {

// A view of a row-major matrix whose rows lie `stride` elements apart.
template <class T>
struct Matrix {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;

  T* row(int64_t i) const { return data + i * stride; }
};

namespace internal {

// c[i,:] += sum over 4 p of a[i,p] b[p,:] for the two rows i.
template <class T>
void add_four_to_two_rows(int64_t n, const T (&a)[2][4], const T* b,
                          int64_t b_stride, T* __restrict c0,
                          T* __restrict c1) {
  const T *b0 = b, *b1 = b0 + b_stride, *b2 = b1 + b_stride,
          *b3 = b2 + b_stride;
  for (int64_t j = 0; j < n; ++j) {
    c0[j] +=
        a[0][0] * b0[j] + a[0][1] * b1[j] + a[0][2] * b2[j] + a[0][3] * b3[j];
    c1[j] +=
        a[1][0] * b0[j] + a[1][1] * b1[j] + a[1][2] * b2[j] + a[1][3] * b3[j];
  }
}

// c[i,:] += a[i,p] b[p,:] for rows i from `begin`, one p.
template <class T>
void add_one(int64_t begin, Matrix<T> c, T alpha, const T* a, int64_t a_row,
             const T* b) {
  for (int64_t i = begin; i < c.rows; ++i) {
    const T s = alpha * a[i * a_row];
    T* __restrict ci = c.row(i);
    for (int64_t j = 0; j < c.cols; ++j) ci[j] += s * b[j];
  }
}

// c += alpha a b, where element [i,p] of a is a[i * a_row + p * a_col].
template <class T>
void add_product(int64_t k, const T* a, int64_t a_row, int64_t a_col,
                 Matrix<T> b, Matrix<T> c, T alpha) {
  int64_t p = 0;
  for (; p + 4 <= k; p += 4) {
    const T* ap = a + p * a_col;
    int64_t i = 0;
    for (; i + 2 <= c.rows; i += 2) {
      T s[2][4];
      for (int64_t l = 0; l < 4; ++l) {
        s[0][l] = alpha * ap[i * a_row + l * a_col];
        s[1][l] = alpha * ap[(i + 1) * a_row + l * a_col];
      }
      add_four_to_two_rows(c.cols, s, b.row(p), b.stride, c.row(i),
                           c.row(i + 1));
    }
    for (int64_t l = 0; l < 4; ++l) {
      add_one(i, c, alpha, ap + l * a_col, a_row, b.row(p + l));
    }
  }
  for (; p < k; ++p) add_one(0, c, alpha, a + p * a_col, a_row, b.row(p));
}

}  // namespace internal

// Products of the few rows of a mini-batch with a head's state, on one thread.
// Sizes are those of c and the common one; no operand may alias c. The order of
// summation depends on the sizes alone.

// c [m,n] += alpha a [m,k] b [k,n]
template <class T>
void add_nn(Matrix<T> a, Matrix<T> b, Matrix<T> c,
            std::type_identity_t<T> alpha = 1) {
  internal::add_product(a.cols, a.data, a.stride, 1, b, c, alpha);
}

// c [m,n] += alpha a^T b, a [k,m], b [k,n]
template <class T>
void add_tn(Matrix<T> a, Matrix<T> b, Matrix<T> c,
            std::type_identity_t<T> alpha = 1) {
  internal::add_product(a.rows, a.data, 1, a.stride, b, c, alpha);
}

// c [m,n] += alpha a b^T, a [m,k], b [n,k]; scratch holds n*k elements.
template <class T>
void add_nt(Matrix<T> a, Matrix<T> b, Matrix<T> c, T* scratch,
            std::type_identity_t<T> alpha = 1) {
  const Matrix<T> bt{scratch, b.cols, b.rows, b.rows};
  for (int64_t p = 0; p < bt.rows; ++p) {
    for (int64_t j = 0; j < bt.cols; ++j) bt.row(p)[j] = b.row(j)[p];
  }
  add_nn(a, bt, c, alpha);
}

}  // namespace timepipe::cpu
