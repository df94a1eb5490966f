#pragma once

#include "kernels/cuda/ttt_layernorm.cuh"
#include "kernels/cuda/ttt_mini_batch.cuh"

// One layer z(x) = x W + b of an inner model over a mini-batch of r rows, in
// dual form. k are its training inputs, h the scaled gradients at their z, q
// its reading inputs. TTT-Linear is one such layer, TTT-MLP two.

namespace timepipe::cuda::ttt {

// Room for the products of a layer w [m,n] and r rows.
template <class T>
struct LayerScratch {
  Matrix<T> square;      // [r,r]
  Matrix<T> rows;        // [r, max(m,n)]
  NormScratch<T> norm;   // of r rows
  RowSums<double> dots;  // [r]

  LayerScratch() = default;
  __host__ __device__ LayerScratch(Arena<T>& arena, int r, int m, int n)
      : square(arena.take(r, r)),
        rows(arena.take(r, m > n ? m : n)),
        norm(arena, r),
        dots(take_sums<double>(arena, r)) {}

  // The first n columns of `rows`.
  __device__ Matrix<T> rows_of(int n) const {
    return {rows.data, rows.rows, n, rows.stride};
  }
};

// f(i, j, z) for z = x W + b
template <class T, class F>
__device__ void for_each_output(Matrix<T> x, const Layer<T>& layer, F&& f) {
  const Matrix<T> size{nullptr, x.rows, layer.w.cols, 0};
  for_each_tile(size, [&](const Tile& tile) {
    const TileSums<T> sums = product_nn(tile, x, layer.w);
    const T b = layer.b.data[tile.col];
    for_each_row(tile, [&](int i, int l) { f(i, tile.col, b + sums[l]); });
  });
}

// z = x W + b, without a barrier.
template <class T>
TIMEPIPE_NOINLINE __device__ void set_outputs(Matrix<T> x,
                                              const Layer<T>& layer,
                                              Matrix<T> z) {
  for_each_output(x, layer,
                  [=](int i, int j, T value) { z.row(i)[j] = value; });
}

// z = x W + b
template <class T>
TIMEPIPE_NOINLINE __device__ void apply(Matrix<T> x, const Layer<T>& layer,
                                        Matrix<T> z) {
  set_outputs(x, layer, z);
  __syncthreads();
}

// gram = tril(q k^T + 1)
template <class T>
TIMEPIPE_NOINLINE __device__ void gram_matrix(Matrix<T> q, Matrix<T> k,
                                              Matrix<T> gram) {
  for_each_tile(gram, [&](const Tile& tile) {
    TileSums<T> dots{};
    if (tile.col < tile.end_row()) dots = product_nt(tile, q, k);
    for_each_row(tile, [&](int i, int l) {
      gram.row(i)[tile.col] = tile.col <= i ? 1 + dots[l] : T(0);
    });
  });
  __syncthreads();
}

// The layer as each row i reads it, after the steps of the rows up to i:
//   gram = tril(q k^T + 1),  zb = q W + b - tok * (gram h + q N + n)
// sum: N and n, of the mini-batch's tokens before these rows; empty: none.
template <class T>
TIMEPIPE_NOINLINE __device__ void read(Matrix<T> q, Matrix<T> k, Matrix<T> h,
                                       const T* tok, const Layer<T>& layer,
                                       const Layer<T>& sum, Matrix<T> gram,
                                       Matrix<T> zb) {
  gram_matrix(q, k, gram);
  for_each_tile(zb, [&](const Tile& tile) {
    const TileSums<T> own = product_nn(tile, q, layer.w);
    TileSums<T> steps = product_nn(tile, gram, h, 0, tile.end_row());
    if (sum.w.data != nullptr) {
      const TileSums<T> earlier = product_nn(tile, q, sum.w);
      const T n = sum.b.data[tile.col];
      for_each_row(tile, [&](int, int l) { steps[l] += earlier[l] + n; });
    }
    const T b = layer.b.data[tile.col];
    for_each_row(tile, [&](int i, int l) {
      zb.row(i)[tile.col] = b + own[l] - tok[i] * steps[l];
    });
  });
  __syncthreads();
}

// Adds to the layer's gradient what arrives at alpha (x W + b), without a
// barrier.
template <class T>
TIMEPIPE_NOINLINE __device__ void apply_backward(
    Matrix<T> x, Matrix<T> dz, const Layer<T>& dlayer,
    std::type_identity_t<T> alpha = 1) {
  add_tn(x, dz, dlayer.w, alpha);
  for_each_element(dlayer.b, [&](int, int j) {
    T sum = 0;
    for (int i = 0; i < dz.rows; ++i) sum += dz.row(i)[j];
    dlayer.b.data[j] += alpha * sum;
  });
}

// W <- W - rate k^T h,  b <- b - rate 1^T h, without a barrier.
template <class T>
__device__ void step(Matrix<T> k, Matrix<T> h, T rate, const Layer<T>& layer) {
  apply_backward(k, h, layer, -rate);
}

// Backward of read, without its part in the layer's gradient (see
// apply_backward). Writes dq and dh, adds to dk, dsum and dtok.
template <class T>
TIMEPIPE_NOINLINE __device__ void read_backward(
    Matrix<T> q, Matrix<T> k, Matrix<T> h, const T* tok, const Layer<T>& layer,
    const Layer<T>& sum, Matrix<T> gram, Matrix<T> dzb, Matrix<T> dq,
    Matrix<T> dk, Matrix<T> dh, const Layer<T>& dsum,
    const RowSums<double>& dtok, const LayerScratch<T>& scratch) {
  const bool has_sum = sum.w.data != nullptr;
  // tril(dzb h^T), whose rows times tok are the gradient of -gram; q N + n.
  const Matrix<T> m = scratch.square, reads = scratch.rows_of(dzb.cols);
  for_each_tile(m, [&](const Tile& tile) {
    TileSums<T> dots{};
    if (tile.col < tile.end_row()) dots = product_nt(tile, dzb, h);
    for_each_row(tile, [&](int i, int l) {
      m.row(i)[tile.col] = tile.col <= i ? dots[l] : T(0);
    });
  });
  for_each_tile(dh, [&](const Tile& tile) {
    TileSums<T> sums{};
    for (int i = tile.row; i < gram.rows; ++i) {
      const T d = tok[i] * dzb.row(i)[tile.col];
      for_each_row(tile, [&](int s, int l) { sums[l] += gram.row(i)[s] * d; });
    }
    for_each_row(tile, [&](int s, int l) { dh.row(s)[tile.col] = -sums[l]; });
  });
  if (has_sum) set_outputs(q, sum, reads);
  __syncthreads();

  for_each_lane(m.rows, [&](int i, int lane) {
    double dot = lane_dot(i + 1, lane, gram.row(i), m.row(i));
    if (has_sum) dot += lane_dot(dzb.cols, lane, reads.row(i), dzb.row(i));
    dtok.of(i, lane) -= dot;
  });
  for_each_tile(dq, [&](const Tile& tile) {
    const TileSums<T> own = product_nt(tile, dzb, layer.w);
    TileSums<T> steps = product_nn(tile, m, k, 0, tile.end_row());
    if (has_sum) {
      const TileSums<T> earlier = product_nt(tile, dzb, sum.w);
      for_each_row(tile, [&](int, int l) { steps[l] += earlier[l]; });
    }
    for_each_row(tile, [&](int i, int l) {
      dq.row(i)[tile.col] = own[l] - tok[i] * steps[l];
    });
  });
  for_each_tile(dk, [&](const Tile& tile) {
    TileSums<T> sums{};
    for (int i = tile.row; i < m.rows; ++i) {
      const T x = tok[i] * q.row(i)[tile.col];
      for_each_row(tile, [&](int s, int l) { sums[l] += m.row(i)[s] * x; });
    }
    add_sums(tile, sums, dk, -1);
  });
  __syncthreads();
  if (!has_sum) return;

  for_each_element(
      reads, [&](int i, int j) { reads.row(i)[j] = tok[i] * dzb.row(i)[j]; });
  __syncthreads();
  apply_backward(q, reads, dsum, -1);
  __syncthreads();
}

// Backward of step, given the gradient of the layer after it: adds to dh, dk
// and the lanes of drate (null: not wanted). The gradient of the layer passes
// through unchanged.
template <class T>
TIMEPIPE_NOINLINE __device__ void step_backward(
    Matrix<T> k, Matrix<T> h, T rate, const Layer<T>& dlayer, Matrix<T> dh,
    Matrix<T> dk, double* drate, const LayerScratch<T>& scratch) {
  const Matrix<T> r = scratch.rows_of(h.cols);
  const RowSums<double> dots = scratch.dots;
  for_each_output(k, dlayer, [&](int i, int j, T value) {
    r.row(i)[j] = value;
    dh.row(i)[j] -= rate * value;
  });
  add_nt(h, dlayer.w, dk, -rate);
  __syncthreads();
  if (drate == nullptr) return;

  for_each_lane(h.rows, [&](int i, int lane) {
    dots.of(i, lane) = lane_dot(h.cols, lane, h.row(i), r.row(i));
  });
  __syncthreads();
  for_each_lane(1, [&](int, int lane) {
    double sum = 0;
    for (int i = 0; i < h.rows; ++i) sum += dots.of(i, lane);
    drate[lane] -= sum;
  });
  __syncthreads();
}

// Backward of h = lr * g: turns dh into dg, adds to dlr.
template <class T>
TIMEPIPE_NOINLINE __device__ void rate_backward(const T* lr, Matrix<T> g,
                                                Matrix<T> dh,
                                                const RowSums<double>& dlr) {
  for_each_lane(g.rows, [&](int i, int lane) {
    const T* x = g.row(i);
    T* d = dh.row(i);
    double sum = 0;
    for (int j = lane; j < g.cols; j += kLanes) {
      sum += static_cast<double>(x[j]) * static_cast<double>(d[j]);
      d[j] *= lr[i];
    }
    dlr.of(i, lane) += sum;
  });
  __syncthreads();
}

}  // namespace timepipe::cuda::ttt
