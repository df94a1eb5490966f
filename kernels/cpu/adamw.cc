// AdamW on host memory, elements shared among threads.

#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/cpu_kernels.h"
#include "runtime/parallel_for.h"

namespace timepipe::cpu {
namespace {

// The constants of one step, computed in f64 and rounded once.
template <class T>
struct Step {
  explicit Step(const AdamW& hyper)
      : lr(static_cast<T>(hyper.lr)),
        beta1(static_cast<T>(hyper.beta1)),
        beta2(static_cast<T>(hyper.beta2)),
        rest1(static_cast<T>(1 - hyper.beta1)),
        rest2(static_cast<T>(1 - hyper.beta2)),
        bias1(static_cast<T>(1 - power(hyper.beta1, hyper.step))),
        bias2(static_cast<T>(1 - power(hyper.beta2, hyper.step))),
        eps(static_cast<T>(hyper.eps)),
        decay(static_cast<T>(hyper.weight_decay)) {}

  static double power(double beta, int64_t step) {
    return std::pow(beta, static_cast<double>(step + 1));
  }

  T lr, beta1, beta2, rest1, rest2, bias1, bias2, eps, decay;
};

template <class T>
void update(const Step<T>& step, int64_t begin, int64_t end, const T* g, T* m,
            T* v, T* p) {
  for (int64_t i = begin; i < end; ++i) {
    const T mean = step.beta1 * m[i] + step.rest1 * g[i];
    const T square = step.beta2 * v[i] + step.rest2 * (g[i] * g[i]);
    const T direction =
        mean / step.bias1 / (std::sqrt(square / step.bias2) + step.eps);
    m[i] = mean;
    v[i] = square;
    p[i] -= step.lr * (direction + step.decay * p[i]);
  }
}

}  // namespace

void adamw(const AdamW& hyper, const Tensor& g, Tensor& m, Tensor& v,
           Tensor& p) {
  dispatch(p.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int64_t kPiece = 16384;
    const Step<T> step(hyper);
    const T* gradient = g.template data<T>();
    T *mean = m.template data<T>(), *square = v.template data<T>();
    T* parameter = p.template data<T>();
    parallel_pieces(p.numel(), kPiece, [&](int64_t begin, int64_t end) {
      update(step, begin, end, gradient, mean, square, parameter);
    });
  });
}

}  // namespace timepipe::cpu
