#pragma once

#include <type_traits>

#include "kernels/cuda/device.h"

// The parts of one mini-batch of one head (ttt_*.cuh) are called by all threads
// of a block together, under two rules:
// - Functions on matrices (this file; copy, fill, ..) have no barrier. They
//   share the elements among the threads; element (i, j) of a matrix of one
//   size belongs to the same thread in all of them, so that several may follow
//   one another on the same result. Operands that others have written need a
//   barrier before.
// - Functions on layers, norms, models and mini-batches end with a barrier: all
//   that they read and wrote is done with.
// A sum is made by one thread, in order, or by the lanes of RowSums: its bits
// depend on the sizes alone.

namespace timepipe::cuda::ttt {

// A view of a row-major matrix whose rows lie `stride` elements apart.
template <class T>
struct Matrix {
  T* data = nullptr;
  int rows = 0, cols = 0;
  int64_t stride = 0;

  __host__ __device__ T* row(int i) const { return data + i * stride; }
};

// What a thread works on at a time: up to kTileRows rows of a column. Each
// element of a product's second operand serves so many of them.
inline constexpr int kTileRows = 4;

struct Tile {
  int row, rows, col;

  __device__ int end_row() const { return row + rows; }
  // The l-th row; a row that isn't there is the first once more.
  __device__ int at(int l) const { return l < rows ? row + l : row; }
};

// A value for each row of a tile.
template <class T>
struct TileSums {
  T value[kTileRows];

  __device__ T& operator[](int l) { return value[l]; }
  __device__ T operator[](int l) const { return value[l]; }
};

// f(tile) for this thread's tiles of a matrix of that size.
template <class T, class F>
__device__ void for_each_tile(Matrix<T> size, F&& f) {
  const int cols = size.cols;
  const int tiles = (size.rows + kTileRows - 1) / kTileRows * cols;
  for (int n = static_cast<int>(threadIdx.x); n < tiles;
       n += static_cast<int>(blockDim.x)) {
    const int row = n / cols * kTileRows, left = size.rows - row;
    f(Tile{row, left < kTileRows ? left : kTileRows, n % cols});
  }
}

// f(i, l) for the rows i of a tile, l counting from 0.
template <class F>
__device__ void for_each_row(const Tile& tile, F&& f) {
  TIMEPIPE_UNROLL
  for (int l = 0; l < kTileRows; ++l) {
    if (l < tile.rows) f(tile.row + l, l);
  }
}

// f(i, j) for this thread's elements of a matrix of that size.
template <class T, class F>
__device__ void for_each_element(Matrix<T> size, F&& f) {
  for_each_tile(size, [&](const Tile& tile) {
    TIMEPIPE_ROLLED
    for (int i = tile.row; i < tile.end_row(); ++i) f(i, tile.col);
  });
}

// Of the tile's rows i and column j, over p in [begin, end):
// sum of a[i,p] b[p,j]
template <class A, class B>
__device__ auto product_nn(const Tile& tile, Matrix<A> a, Matrix<B> b,
                           int begin, int end) {
  TileSums<std::remove_const_t<A>> sums{};
  const A* x[kTileRows];
  TIMEPIPE_UNROLL
  for (int l = 0; l < kTileRows; ++l) x[l] = a.row(tile.at(l));
  for (int p = begin; p < end; ++p) {
    const B y = b.row(p)[tile.col];
    TIMEPIPE_UNROLL
    for (int l = 0; l < kTileRows; ++l) sums[l] += x[l][p] * y;
  }
  return sums;
}
template <class A, class B>
__device__ auto product_nn(const Tile& tile, Matrix<A> a, Matrix<B> b) {
  return product_nn(tile, a, b, 0, a.cols);
}

// sum of a[p,i] b[p,j]
template <class A, class B>
__device__ auto product_tn(const Tile& tile, Matrix<A> a, Matrix<B> b,
                           int begin, int end) {
  TileSums<std::remove_const_t<A>> sums{};
  int at[kTileRows];
  TIMEPIPE_UNROLL
  for (int l = 0; l < kTileRows; ++l) at[l] = tile.at(l);
  for (int p = begin; p < end; ++p) {
    const A* x = a.row(p);
    const B y = b.row(p)[tile.col];
    TIMEPIPE_UNROLL
    for (int l = 0; l < kTileRows; ++l) sums[l] += x[at[l]] * y;
  }
  return sums;
}
template <class A, class B>
__device__ auto product_tn(const Tile& tile, Matrix<A> a, Matrix<B> b) {
  return product_tn(tile, a, b, 0, a.rows);
}

// sum of a[i,p] b[j,p]
template <class A, class B>
__device__ auto product_nt(const Tile& tile, Matrix<A> a, Matrix<B> b) {
  TileSums<std::remove_const_t<A>> sums{};
  const A* x[kTileRows];
  TIMEPIPE_UNROLL
  for (int l = 0; l < kTileRows; ++l) x[l] = a.row(tile.at(l));
  const B* y = b.row(tile.col);
  for (int p = 0; p < a.cols; ++p) {
    TIMEPIPE_UNROLL
    for (int l = 0; l < kTileRows; ++l) sums[l] += x[l][p] * y[p];
  }
  return sums;
}

// c[i,j] += alpha * (sum of the tile's row i and column j)
template <class T>
__device__ void add_sums(const Tile& tile, const TileSums<T>& sums, Matrix<T> c,
                         std::type_identity_t<T> alpha) {
  for_each_row(tile,
               [&](int i, int l) { c.row(i)[tile.col] += alpha * sums[l]; });
}

// Products of the few rows of a mini-batch with a head's state. Each sum is
// made by itself and then added to c: no product goes on with the sums of the
// one before, whatever c has gathered. No operand may alias c.

// c [m,n] += alpha a [m,k] b [k,n]
template <class T>
TIMEPIPE_NOINLINE __device__ void add_nn(Matrix<T> a, Matrix<T> b, Matrix<T> c,
                                         std::type_identity_t<T> alpha = 1) {
  for_each_tile(c, [&](const Tile& tile) {
    add_sums(tile, product_nn(tile, a, b), c, alpha);
  });
}

// c [m,n] += alpha a^T b, a [k,m], b [k,n]
template <class T>
TIMEPIPE_NOINLINE __device__ void add_tn(Matrix<T> a, Matrix<T> b, Matrix<T> c,
                                         std::type_identity_t<T> alpha = 1) {
  for_each_tile(c, [&](const Tile& tile) {
    add_sums(tile, product_tn(tile, a, b), c, alpha);
  });
}

// c [m,n] += alpha a b^T, a [m,k], b [n,k]
template <class T>
TIMEPIPE_NOINLINE __device__ void add_nt(Matrix<T> a, Matrix<T> b, Matrix<T> c,
                                         std::type_identity_t<T> alpha = 1) {
  for_each_tile(c, [&](const Tile& tile) {
    add_sums(tile, product_nt(tile, a, b), c, alpha);
  });
}

}  // namespace timepipe::cuda::ttt
