// RMSNorm on host memory, a row at a time.

#include "kernels/rmsnorm.h"

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/sums.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

template <class T, class A>
void forward(int64_t N, int64_t C, const T* x, const T* w, double eps, A* y,
             T* rstd) {
  parallel_for(N, [=](int64_t n) {
    const T* row = x + n * C;
    const double squares = sum_over(
        C, [=](int64_t c) { return static_cast<double>(row[c]) * row[c]; });
    const T r =
        static_cast<T>(1 / std::sqrt(squares / static_cast<double>(C) + eps));
    A* out = y + n * C;
    for (int64_t c = 0; c < C; ++c) {
      out[c] = static_cast<A>(w[c] * row[c] * r);
    }
    rstd[n] = r;
  });
}

// With a = w dy and h = x rstd: dx = rstd (a - h mean(a h)).
template <class T>
void backward_x(int64_t N, int64_t C, const T* dy, const T* x, const T* w,
                const T* rstd, T* dx, Write write) {
  parallel_for(N, [=](int64_t n) {
    const T *g = dy + n * C, *row = x + n * C;
    const T r = rstd[n];
    const double dot = sum_over(C, [=](int64_t c) {
      return static_cast<double>(w[c] * g[c]) * row[c];
    });
    const T mean = static_cast<T>(dot * r / static_cast<double>(C));
    T* out = dx + n * C;
    for (int64_t c = 0; c < C; ++c) {
      put(out[c], r * (w[c] * g[c] - row[c] * r * mean), write);
    }
  });
}

}  // namespace

void rmsnorm_forward(Context&, const Tensor& x, const Tensor& w, double eps,
                     Tensor& y, Tensor& rstd) {
  dispatch_stored(y.dtype(), [&](auto zero) {
    using A = decltype(zero);
    using T = Wide<A>;
    forward(x.dim(0), x.dim(1), elements<T>(x), elements<T>(w), eps,
            elements<A>(y), elements<T>(rstd));
  });
}

void rmsnorm_backward(Context&, const Tensor& dy, const Tensor& x,
                      const Tensor& w, const Tensor& rstd, Tensor& dx,
                      Write write_dx, Tensor& dw, Write write_dw) {
  dispatch(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t N = x.dim(0), C = x.dim(1);
    const T *g = elements<T>(dy), *in = elements<T>(x);
    const T* r = elements<T>(rstd);
    backward_x(N, C, g, in, elements<T>(w), r, elements<T>(dx), write_dx);
    column_sums(
        N, C,
        [=](int64_t n, int64_t c) {
          return g[n * C + c] * in[n * C + c] * r[n];
        },
        elements<T>(dw), write_dw);
  });
}

}  // namespace timepipe::cpu
