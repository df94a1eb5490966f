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
  Step(const AdamW& hyper, double factor)
      : lr(static_cast<T>(hyper.lr)),
        beta1(static_cast<T>(hyper.beta1)),
        beta2(static_cast<T>(hyper.beta2)),
        rest1(static_cast<T>(1 - hyper.beta1)),
        rest2(static_cast<T>(1 - hyper.beta2)),
        bias1(static_cast<T>(1 - power(hyper.beta1, hyper.step))),
        bias2(static_cast<T>(1 - power(hyper.beta2, hyper.step))),
        eps(static_cast<T>(hyper.eps)),
        decay(static_cast<T>(hyper.weight_decay)),
        factor(static_cast<T>(factor)) {}

  static double power(double beta, int64_t step) {
    return std::pow(beta, static_cast<double>(step + 1));
  }

  T lr, beta1, beta2, rest1, rest2, bias1, bias2, eps, decay, factor;
};

template <class T>
void update(const Step<T>& step, int64_t begin, int64_t end, const T* gradient,
            T* m, T* v, T* p) {
  for (int64_t i = begin; i < end; ++i) {
    const T g = step.factor * gradient[i];
    const T mean = step.beta1 * m[i] + step.rest1 * g;
    const T square = step.beta2 * v[i] + step.rest2 * (g * g);
    const T direction =
        mean / step.bias1 / (std::sqrt(square / step.bias2) + step.eps);
    m[i] = mean;
    v[i] = square;
    p[i] -= step.lr * (direction + step.decay * p[i]);
  }
}

}  // namespace

void adamw(Context&, const AdamW& hyper, const Tensor& verdict,
           const Tensor& gradient, Tensor& m, Tensor& v, Tensor& p) {
  const StepVerdict judged = StepVerdict::of(elements<double>(verdict));
  if (judged.finite == 0) return;
  dispatch(p.dtype(), [&](auto zero) {
    using T = decltype(zero);
    constexpr int64_t kPiece = 16384;
    const Step<T> step(hyper, judged.factor);
    const T* g = elements<T>(gradient);
    T *mean = elements<T>(m), *square = elements<T>(v);
    T* parameter = elements<T>(p);
    parallel_pieces(p.numel(), kPiece, [&](int64_t begin, int64_t end) {
      update(step, begin, end, g, mean, square, parameter);
    });
  });
}

}  // namespace timepipe::cpu
