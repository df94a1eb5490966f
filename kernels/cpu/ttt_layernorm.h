#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cpu/sums.h"
#include "kernels/cpu/ttt_mini_batch.h"

namespace timepipe::cpu::ttt {

// Gain and bias of one head's LayerNorm, [D], and the sums of their gradients.
template <class T>
struct Norm {
  const T *w, *b;
};
struct NormGradient {
  double *w, *b;
};

// Mean of f(j) over j in [0, n), summed in T.
template <class T, class F>
T mean(int64_t n, F&& f) {
  T lanes[kLanes] = {};
  over_lanes(n, [&](int64_t j, int64_t l) { lanes[l] += f(j); });
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0] / static_cast<T>(n);
}

// The inner loss 0.5 |LN(Z) - target|^2 of r rows.
template <class T>
struct InnerLoss {
  Matrix<T> xhat;     // [r,D] Z, then its normalised rows
  Matrix<T> g, h;     // [r,D] gradient at Z; lr * g
  T* rstd = nullptr;  // [r]
  T* m2 = nullptr;    // [r] mean(d loss/d xhat * xhat)

  InnerLoss() = default;
  InnerLoss(Arena<T>& arena, int64_t r, int64_t D)
      : xhat(arena.take(r, D)),
        g(arena.take(r, D)),
        h(arena.take(r, D)),
        rstd(arena.take(r)),
        m2(arena.take(r)) {}
};

// z <- (z - mean) * rstd. Two passes: dropping the mean is unstable even where
// it is zero in exact arithmetic.
template <class T>
void normalize(Matrix<T> z, T* rstd) {
  constexpr T kEps = static_cast<T>(1e-6);
  const int64_t D = z.cols;
  for (int64_t i = 0; i < z.rows; ++i) {
    T* x = z.row(i);
    const T mu = mean<T>(D, [=](int64_t j) { return x[j]; });
    for (int64_t j = 0; j < D; ++j) x[j] -= mu;
    const T variance = mean<T>(D, [=](int64_t j) { return x[j] * x[j]; });
    rstd[i] = 1 / std::sqrt(variance + kEps);
    for (int64_t j = 0; j < D; ++j) x[j] *= rstd[i];
  }
}

// dz of LN, whose forward left xhat and rstd.
template <class T>
void normalize_backward(const Norm<T>& norm, Matrix<T> xhat, const T* rstd,
                        Matrix<T> dy, Matrix<T> dz, const NormGradient& dnorm) {
  const int64_t D = xhat.cols;
  const T* w = norm.w;
  for (int64_t i = 0; i < xhat.rows; ++i) {
    const T *x = xhat.row(i), *d = dy.row(i);
    T* out = dz.row(i);
    const T m1 = mean<T>(D, [=](int64_t j) { return w[j] * d[j]; });
    const T m2 = mean<T>(D, [=](int64_t j) { return w[j] * d[j] * x[j]; });
    for (int64_t j = 0; j < D; ++j) {
      out[j] = rstd[i] * (w[j] * d[j] - m1 - x[j] * m2);
    }
    for (int64_t j = 0; j < D; ++j) {
      dnorm.w[j] += d[j] * x[j];
      dnorm.b[j] += d[j];
    }
  }
}

// Normalises loss.xhat, which holds Z, and sets g, m2 and h.
template <class T>
void loss_gradient(const Norm<T>& norm, const MiniBatch<T>& x,
                   const InnerLoss<T>& loss) {
  const int64_t D = loss.xhat.cols;
  normalize(loss.xhat, loss.rstd);
  for (int64_t i = 0; i < loss.xhat.rows; ++i) {
    const T *xhat = loss.xhat.row(i), *t = x.target.row(i);
    const T *w = norm.w, *b = norm.b;
    T *g = loss.g.row(i), *h = loss.h.row(i);
    for (int64_t j = 0; j < D; ++j) {
      g[j] = w[j] * (w[j] * xhat[j] + b[j] - t[j]);
    }
    const T m1 = mean<T>(D, [=](int64_t j) { return g[j]; });
    const T m2 = mean<T>(D, [=](int64_t j) { return g[j] * xhat[j]; });
    loss.m2[i] = m2;
    const T rstd = loss.rstd[i], lr = x.lr[i];
    for (int64_t j = 0; j < D; ++j) {
      g[j] = rstd * (g[j] - m1 - xhat[j] * m2);
      h[j] = lr * g[j];
    }
  }
}

// dz = (Hessian of the loss in Z) dg, in place; with dg as the gradient at g,
// also d/dtarget and the gain's and bias's part.
template <class T>
void loss_gradient_backward(const Norm<T>& norm, const InnerLoss<T>& loss,
                            Matrix<T> target, Matrix<T> dg, Matrix<T> dtarget,
                            const NormGradient& dnorm) {
  const int64_t D = dg.cols;
  const T *w = norm.w, *b = norm.b;
  for (int64_t i = 0; i < dg.rows; ++i) {
    const T *x = loss.xhat.row(i), *g = loss.g.row(i), *t = target.row(i);
    const T rstd = loss.rstd[i], m2 = loss.m2[i];
    T *d = dg.row(i), *q = dtarget.row(i);
    const T n1 = mean<T>(D, [=](int64_t j) { return d[j]; });
    const T n2 = mean<T>(D, [=](int64_t j) { return d[j] * x[j]; });
    const T n3 = mean<T>(D, [=](int64_t j) { return d[j] * g[j]; });
    // q is the gradient at w (w xhat + b - t), a = w^2 q that at xhat.
    for (int64_t j = 0; j < D; ++j) q[j] = rstd * (d[j] - n1 - x[j] * n2);
    const auto a = [=](int64_t j) { return w[j] * w[j] * q[j]; };
    const T a1 = mean<T>(D, a);
    const T a2 = mean<T>(D, [=](int64_t j) { return a(j) * x[j]; });
    for (int64_t j = 0; j < D; ++j) {
      d[j] = rstd * (a(j) - m2 * q[j] - a1 - x[j] * (a2 + n3) - n2 * g[j]);
    }
    for (int64_t j = 0; j < D; ++j) {
      dnorm.w[j] += q[j] * (2 * w[j] * x[j] + b[j] - t[j]);
      dnorm.b[j] += w[j] * q[j];
    }
    for (int64_t j = 0; j < D; ++j) q[j] *= -w[j];
  }
}

}  // namespace timepipe::cpu::ttt
