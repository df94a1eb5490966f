#pragma once

// The definition of the TTT scan, token by token and in float64: no dual form,
// nothing shared with kernels/.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "tests/kernels/ttt_scan_problem.h"

namespace timepipe::testing {

using Vector = std::vector<double>;

// W1 [D,F], b1 [F], W2 [F,D], b2 [D], or a gradient of them; no W2, b2 for the
// linear model.
struct ReferenceState {
  Vector w1, b1, w2, b2;
};

inline Vector affine(const Vector& x, const Vector& w, const Vector& b) {
  Vector z = b;
  for (std::size_t j = 0; j < b.size(); ++j) {
    for (std::size_t i = 0; i < x.size(); ++i)
      z[j] += x[i] * w[i * b.size() + j];
  }
  return z;
}

inline double reference_gelu(double x) {
  const double c = std::sqrt(2 / std::numbers::pi);
  return 0.5 * x * (1 + std::tanh(c * x * (1 + 0.044715 * x * x)));
}

// What the official implementation takes for the derivative of gelu.
inline double reference_gelu_slope(double x) {
  const double t = std::tanh(0.79788456 * x * (1 + 0.044715 * x * x));
  return 0.5 * x * ((1 - t * t) * (0.79788456 + 0.1070322243 * x * x)) +
         0.5 * (1 + t);
}

inline Vector inner_model(const ReferenceState& s, const Vector& x) {
  Vector z = affine(x, s.w1, s.b1);
  if (s.w2.empty()) return z;
  for (double& v : z) v = reference_gelu(v);
  return affine(z, s.w2, s.b2);
}

inline Vector reference_norm(const Vector& z, const Vector& w,
                             const Vector& b) {
  const auto D = static_cast<double>(z.size());
  double mean = 0, variance = 0;
  for (const double v : z) mean += v / D;
  for (const double v : z) variance += (v - mean) * (v - mean) / D;
  Vector y(z.size());
  for (std::size_t j = 0; j < z.size(); ++j) {
    y[j] = w[j] * (z[j] - mean) / std::sqrt(variance + 1e-6) + b[j];
  }
  return y;
}

// d/dz of 0.5 |LN(z) - target|^2 by the Jacobian of LN, element by element:
//   d xhat_j / d z_i = (delta_ij - 1/D - xhat_i xhat_j / D) rstd
inline Vector loss_gradient(const Vector& z, const Vector& target,
                            const Vector& w, const Vector& b) {
  const std::size_t D = z.size();
  const Vector xhat = reference_norm(z, Vector(D, 1), Vector(D, 0));
  double mean = 0, variance = 0;
  for (const double v : z) mean += v / static_cast<double>(D);
  for (const double v : z) {
    variance += (v - mean) * (v - mean) / static_cast<double>(D);
  }
  const double rstd = 1 / std::sqrt(variance + 1e-6);
  Vector dz(D, 0);
  for (std::size_t j = 0; j < D; ++j) {
    const double dxhat = w[j] * (w[j] * xhat[j] + b[j] - target[j]);
    for (std::size_t i = 0; i < D; ++i) {
      const double delta = i == j ? 1 : 0;
      dz[i] += dxhat * rstd *
               (delta - (1 + xhat[i] * xhat[j]) / static_cast<double>(D));
    }
  }
  return dz;
}

// sum += scale * (x^T dz, dz)
inline void add_outer(double scale, const Vector& x, const Vector& dz,
                      Vector& sum_w, Vector& sum_b) {
  for (std::size_t j = 0; j < dz.size(); ++j) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      sum_w[i * dz.size() + j] += scale * x[i] * dz[j];
    }
    sum_b[j] += scale * dz[j];
  }
}

// sum += lr * (gradient of the inner loss of token (k, target) at s)
inline void add_gradient(double lr, const ReferenceState& s, const Vector& k,
                         const Vector& target, const Vector& w, const Vector& b,
                         ReferenceState& sum) {
  const Vector dz = loss_gradient(inner_model(s, k), target, w, b);
  if (s.w2.empty()) return add_outer(lr, k, dz, sum.w1, sum.b1);
  const Vector z1 = affine(k, s.w1, s.b1);
  Vector x2 = z1, dz1(z1.size(), 0);
  for (double& v : x2) v = reference_gelu(v);
  for (std::size_t i = 0; i < z1.size(); ++i) {
    for (std::size_t j = 0; j < dz.size(); ++j) {
      dz1[i] += dz[j] * s.w2[i * dz.size() + j];
    }
    dz1[i] *= reference_gelu_slope(z1[i]);
  }
  add_outer(lr, k, dz1, sum.w1, sum.b1);
  add_outer(lr, x2, dz, sum.w2, sum.b2);
}

// a - scale * b
inline Vector minus(const Vector& a, double scale, const Vector& b) {
  Vector out = a;
  for (std::size_t i = 0; i < a.size(); ++i) out[i] -= scale * b[i];
  return out;
}

inline ReferenceState minus(const ReferenceState& a, double scale,
                            const ReferenceState& b) {
  return {minus(a.w1, scale, b.w1), minus(a.b1, scale, b.b1),
          minus(a.w2, scale, b.w2), minus(a.b2, scale, b.b2)};
}

// One head's state out of, or into, the flat state of all heads.
inline void exchange(const TttShape& shape, int64_t head, Vector& flat,
                     ReferenceState& state, bool into_flat) {
  const int64_t D = shape.head_size;
  const bool mlp = shape.inner == InnerModel::kMlp;
  const int64_t F = mlp ? 4 * D : D;
  auto at = flat.begin();
  const auto part = [&](Vector& values, int64_t n) {
    values.resize(static_cast<std::size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      double& there = *(at + head * n + i);
      double& here = values[static_cast<std::size_t>(i)];
      into_flat ? there = here : here = there;
    }
    at += shape.heads * n;
  };
  part(state.w1, D * F);
  part(state.b1, F);
  if (mlp) part(state.w2, F * D);
  if (mlp) part(state.b2, D);
}

// Head `head` of row `row` of x [N, H * D].
inline Vector head_row(Context& ctx, const Tensor& x, int64_t row, int64_t head,
                       int64_t D) {
  const int64_t at = row * x.dim(1) / D + head;
  return to_f64(ctx, x.reshape({x.numel() / D, D}).slice(at, at + 1));
}

// Token t of a head, at `place` of its mini-batch, before which the state was
// `before`: its gradient is added to `sum`; y is read from the state that
// gives.
inline void reference_token(Context& ctx, const ScanProblem& p, int64_t head,
                            int64_t t, int64_t place,
                            const ReferenceState& before, ReferenceState& sum,
                            ReferenceState& state, Vector& y) {
  const int64_t H = p.shape.heads, D = p.shape.head_size;
  const Vector w = head_row(ctx, p.ln_w, head, 0, D),
               b = head_row(ctx, p.ln_b, head, 0, D);
  const Vector q = head_row(ctx, p.xq, t, head, D),
               k = head_row(ctx, p.xk, t, head, D);
  const Vector target = minus(head_row(ctx, p.xv, t, head, D), 1, k);
  add_gradient(head_row(ctx, p.lr, t, head, 1)[0], before, k, target, w, b,
               sum);
  state = minus(before, to_f64(ctx, p.tok.slice(place, place + 1))[0], sum);
  const Vector read = reference_norm(inner_model(state, q), w, b);
  for (int64_t j = 0; j < D; ++j) {
    const auto at = static_cast<std::size_t>(j);
    y[static_cast<std::size_t>((t * H + head) * D + j)] = q[at] + read[at];
  }
}

// The definition over all heads and segments: y and the last state.
struct Reference {
  Vector y, state;
};

inline void reference_mini_batch(Context& ctx, const ScanProblem& p,
                                 int64_t head, int64_t row, int64_t rows,
                                 ReferenceState& state, Vector& y) {
  const ReferenceState before = state;
  ReferenceState sum = minus(before, 1, before);
  for (int64_t i = 0; i < rows; ++i) {
    reference_token(ctx, p, head, row + i, i, before, sum, state, y);
  }
}

inline Reference reference_forward(Context& ctx, const ScanProblem& p) {
  const int64_t b = p.shape.mini_batch;
  Reference out{Vector(static_cast<std::size_t>(p.xq.numel()), 0),
                to_f64(ctx, p.state_in)};
  Vector start = to_f64(ctx, p.start);
  for (int64_t head = 0; head < p.shape.heads; ++head) {
    ReferenceState state;
    exchange(p.shape, head, out.state, state, false);
    for (const Segment& s : p.segments) {
      if (s.resets) exchange(p.shape, head, start, state, false);
      for (int64_t i = 0; i < s.rows; i += b) {
        reference_mini_batch(ctx, p, head, s.row + i, std::min(b, s.rows - i),
                             state, out.y);
      }
    }
    exchange(p.shape, head, out.state, state, true);
  }
  return out;
}

}  // namespace timepipe::testing
