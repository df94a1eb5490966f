// LayerNorm on host memory, a row at a time.

#include "kernels/layernorm.h"

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sums.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

template <class T, class A>
void forward_row(int64_t C, const T* x, const T* w, const T* b, double eps,
                 A* y, T* mean, T* rstd) {
  const double width = static_cast<double>(C);
  const double mu = sum_over(C, [=](int64_t c) { return x[c]; }) / width;
  const double squares = sum_over(C, [=](int64_t c) {
    const double d = static_cast<double>(x[c]) - mu;
    return d * d;
  });
  const T m = static_cast<T>(mu);
  const T r = static_cast<T>(1 / std::sqrt(squares / width + eps));
  for (int64_t c = 0; c < C; ++c) {
    y[c] = static_cast<A>(w[c] * ((x[c] - m) * r) + b[c]);
  }
  *mean = m;
  *rstd = r;
}

// With a = w dy and h = (x - mean) rstd: dx = rstd (a - mean(a) - h mean(a h)).
template <class T>
void backward_row(int64_t C, const T* dy, const T* x, const T* w, T mean,
                  T rstd, T* dx) {
  const double width = static_cast<double>(C);
  const T shift = static_cast<T>(
      sum_over(C, [=](int64_t c) { return w[c] * dy[c]; }) / width);
  const T slope =
      static_cast<T>(sum_over(C,
                              [=](int64_t c) {
                                return static_cast<double>(w[c] * dy[c]) *
                                       ((x[c] - mean) * rstd);
                              }) /
                     width);
  for (int64_t c = 0; c < C; ++c) {
    dx[c] = rstd * (w[c] * dy[c] - shift - (x[c] - mean) * rstd * slope);
  }
}

}  // namespace

void layernorm_forward(Context&, const Tensor& x, const Tensor& w,
                       const Tensor& b, double eps, Tensor& y, Tensor& mean,
                       Tensor& rstd) {
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    const int64_t C = x.dim(1);
    const T *in = elements<T>(x), *gain = elements<T>(w);
    const T* bias = elements<T>(b);
    A* out = elements<A>(y);
    T *m = elements<T>(mean), *r = elements<T>(rstd);
    parallel_for(x.dim(0), [=](int64_t n) {
      forward_row(C, in + n * C, gain, bias, eps, out + n * C, m + n, r + n);
    });
  });
}

void layernorm_backward(Context&, const Tensor& dy, const Tensor& x,
                        const Tensor& w, const Tensor& mean, const Tensor& rstd,
                        Tensor& dx, Tensor& dw, Tensor& db) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t N = x.dim(0), C = x.dim(1);
    const T *g = elements<T>(dy), *in = elements<T>(x);
    const T *gain = elements<T>(w), *m = elements<T>(mean);
    const T* r = elements<T>(rstd);
    T* out = elements<T>(dx);
    parallel_for(N, [=](int64_t n) {
      backward_row(C, g + n * C, in + n * C, gain, m[n], r[n], out + n * C);
    });
    column_sums(
        N, C,
        [=](int64_t n, int64_t c) {
          return g[n * C + c] * ((in[n * C + c] - m[n]) * r[n]);
        },
        elements<T>(dw), Write::kOverwrite);
    column_sums(
        N, C, [=](int64_t n, int64_t c) { return g[n * C + c]; },
        elements<T>(db), Write::kOverwrite);
  });
}

}  // namespace timepipe::cpu
