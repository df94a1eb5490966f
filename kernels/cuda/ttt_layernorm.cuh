#pragma once

#include "kernels/cuda/ttt_mini_batch.cuh"

namespace timepipe::cuda::ttt {

// Gain and bias of one head's LayerNorm, [D], and the sums of their gradients.
template <class T>
struct Norm {
  const T *w, *b;
};
struct NormGradient {
  double *w, *b;
};

// Room for the statistics of r rows.
template <class T>
struct NormScratch {
  static constexpr int kSums = 5;
  RowSums<T> sums[kSums];

  NormScratch() = default;
  __host__ __device__ NormScratch(Arena<T>& arena, int r) {
    for (RowSums<T>& s : sums) s = take_sums<T>(arena, r);
  }
};

// The inner loss 0.5 |LN(Z) - target|^2 of r rows.
template <class T>
struct InnerLoss {
  Matrix<T> xhat;     // [r,D] Z, then its normalised rows
  Matrix<T> g, h;     // [r,D] gradient at Z; lr * g
  T* rstd = nullptr;  // [r]
  T* m2 = nullptr;    // [r] mean(d loss/d xhat * xhat)

  InnerLoss() = default;
  __host__ __device__ InnerLoss(Arena<T>& arena, int r, int D)
      : xhat(arena.take(r, D)),
        g(arena.take(r, D)),
        h(arena.take(r, D)),
        rstd(arena.take(r)),
        m2(arena.take(r)) {}
};

// Mean and reciprocal deviation of the rows of z, from sums over them.
template <class T>
struct RowMoments {
  RowSums<T> sum, squares;  // of z; of z - mean
  T D;

  __device__ T mean(int i) const { return sum[i] / D; }
  __device__ T rstd(int i) const {
    constexpr T kEps = static_cast<T>(1e-6);
    return 1 / sqrt(squares[i] / D + kEps);
  }
};

// In two passes: dropping the mean is unstable even where it is zero in exact
// arithmetic.
template <class T>
TIMEPIPE_NOINLINE __device__ RowMoments<T> row_moments(
    Matrix<T> z, const NormScratch<T>& scratch) {
  const RowMoments<T> of{scratch.sums[0], scratch.sums[1],
                         static_cast<T>(z.cols)};
  for_each_lane(z.rows, [&](int i, int lane) {
    const T* x = z.row(i);
    of.sum.of(i, lane) = lane_sum<T>(z.cols, lane, [=](int j) { return x[j]; });
  });
  __syncthreads();
  for_each_lane(z.rows, [&](int i, int lane) {
    const T *x = z.row(i), mu = of.mean(i);
    of.squares.of(i, lane) = lane_sum<T>(
        z.cols, lane, [=](int j) { return (x[j] - mu) * (x[j] - mu); });
  });
  __syncthreads();
  return of;
}

// z <- (z - mean) * rstd
template <class T>
TIMEPIPE_NOINLINE __device__ void normalize(Matrix<T> z, T* rstd,
                                            const NormScratch<T>& scratch) {
  const RowMoments<T> of = row_moments(z, scratch);
  for_each_element(z, [&](int i, int j) {
    const T r = of.rstd(i);
    z.row(i)[j] = (z.row(i)[j] - of.mean(i)) * r;
    if (j == 0) rstd[i] = r;
  });
  __syncthreads();
}

// dz of LN, whose forward left xhat and rstd.
template <class T>
__device__ void normalize_backward(const Norm<T>& norm, Matrix<T> xhat,
                                   const T* rstd, Matrix<T> dy, Matrix<T> dz,
                                   const NormGradient& dnorm,
                                   const NormScratch<T>& scratch) {
  const int D = xhat.cols;
  const T* w = norm.w;
  const RowSums<T> m1 = scratch.sums[0], m2 = scratch.sums[1];
  for_each_lane(xhat.rows, [&](int i, int lane) {
    const T *x = xhat.row(i), *d = dy.row(i);
    m1.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return w[j] * d[j]; });
    m2.of(i, lane) =
        lane_sum<T>(D, lane, [=](int j) { return w[j] * d[j] * x[j]; });
  });
  // A thread for each column, rows in order.
  for (int j = static_cast<int>(threadIdx.x); j < D;
       j += static_cast<int>(blockDim.x)) {
    double dw = dnorm.w[j], db = dnorm.b[j];
    for (int i = 0; i < xhat.rows; ++i) {
      dw += static_cast<double>(dy.row(i)[j] * xhat.row(i)[j]);
      db += static_cast<double>(dy.row(i)[j]);
    }
    dnorm.w[j] = dw;
    dnorm.b[j] = db;
  }
  __syncthreads();
  for_each_element(dz, [&](int i, int j) {
    const T x = xhat.row(i)[j], d = dy.row(i)[j];
    dz.row(i)[j] = rstd[i] * (w[j] * d - m1[i] / static_cast<T>(D) -
                              x * (m2[i] / static_cast<T>(D)));
  });
  __syncthreads();
}

// Normalises loss.xhat, which holds Z, and sets g, m2 and h.
template <class T>
__device__ void loss_gradient(const Norm<T>& norm, const MiniBatch<T>& x,
                              const InnerLoss<T>& loss,
                              const NormScratch<T>& scratch) {
  const Matrix<T> xhat = loss.xhat, target = x.target, g = loss.g, h = loss.h;
  const T *w = norm.w, *b = norm.b, *lr = x.lr;
  const int D = xhat.cols;
  const RowMoments<T> of = row_moments(xhat, scratch);
  const RowSums<T> m1 = scratch.sums[2], m2 = scratch.sums[3];
  for_each_element(xhat, [&](int i, int j) {
    const T r = of.rstd(i), normal = (xhat.row(i)[j] - of.mean(i)) * r;
    xhat.row(i)[j] = normal;
    g.row(i)[j] = w[j] * (w[j] * normal + b[j] - target.row(i)[j]);
    if (j == 0) loss.rstd[i] = r;
  });
  __syncthreads();
  for_each_lane(xhat.rows, [&](int i, int lane) {
    const T *gi = g.row(i), *n = xhat.row(i);
    m1.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return gi[j]; });
    m2.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return gi[j] * n[j]; });
  });
  __syncthreads();
  for_each_element(xhat, [&](int i, int j) {
    const T mean1 = m1[i] / static_cast<T>(D),
            mean2 = m2[i] / static_cast<T>(D);
    const T value =
        loss.rstd[i] * (g.row(i)[j] - mean1 - xhat.row(i)[j] * mean2);
    g.row(i)[j] = value;
    h.row(i)[j] = lr[i] * value;
    if (j == 0) loss.m2[i] = mean2;
  });
  __syncthreads();
}

// dz = (Hessian of the loss in Z) dg, in place; with dg as the gradient at g,
// also d/dtarget and the gain's and bias's part.
template <class T>
__device__ void loss_gradient_backward(const Norm<T>& norm,
                                       const InnerLoss<T>& loss,
                                       Matrix<T> target, Matrix<T> dg,
                                       Matrix<T> dtarget,
                                       const NormGradient& dnorm,
                                       const NormScratch<T>& scratch) {
  const int D = dg.cols;
  const T size = static_cast<T>(D);
  const T *w = norm.w, *b = norm.b, *rstd = loss.rstd, *m2 = loss.m2;
  const Matrix<T> xhat = loss.xhat, gradient = loss.g;
  const auto [n1, n2, n3, a1, a2] = scratch.sums;
  for_each_lane(dg.rows, [&](int i, int lane) {
    const T *x = xhat.row(i), *g = gradient.row(i), *d = dg.row(i);
    n1.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return d[j]; });
    n2.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return d[j] * x[j]; });
    n3.of(i, lane) = lane_sum<T>(D, lane, [=](int j) { return d[j] * g[j]; });
  });
  __syncthreads();
  // q is the gradient at w (w xhat + b - t), a = w^2 q that at xhat.
  const auto q_of = [&](int i, T d, T x) {
    return rstd[i] * (d - n1[i] / size - x * (n2[i] / size));
  };
  for_each_lane(dg.rows, [&](int i, int lane) {
    const T *x = xhat.row(i), *d = dg.row(i);
    T sum1 = 0, sum2 = 0;
    for (int j = lane; j < D; j += kLanes) {
      const T a = w[j] * w[j] * q_of(i, d[j], x[j]);
      sum1 += a;
      sum2 += a * x[j];
    }
    a1.of(i, lane) = sum1;
    a2.of(i, lane) = sum2;
  });
  __syncthreads();
  // A thread for each column, rows in order.
  for (int j = static_cast<int>(threadIdx.x); j < D;
       j += static_cast<int>(blockDim.x)) {
    double dw = dnorm.w[j], db = dnorm.b[j];
    for (int i = 0; i < dg.rows; ++i) {
      const T x = xhat.row(i)[j], q = q_of(i, dg.row(i)[j], x);
      dg.row(i)[j] = rstd[i] * (w[j] * w[j] * q - m2[i] * q - a1[i] / size -
                                x * (a2[i] / size + n3[i] / size) -
                                n2[i] / size * gradient.row(i)[j]);
      dtarget.row(i)[j] = -w[j] * q;
      dw += static_cast<double>(q * (2 * w[j] * x + b[j] - target.row(i)[j]));
      db += static_cast<double>(w[j] * q);
    }
    dnorm.w[j] = dw;
    dnorm.b[j] = db;
  }
  __syncthreads();
}

}  // namespace timepipe::cuda::ttt
