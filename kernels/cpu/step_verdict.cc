// What a step comes to, on host memory.

#include "kernels/step_verdict.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_kernels.h"

namespace timepipe::cpu {
namespace {

double sum_in_order(const Tensor& numbers) {
  const double* x = elements<double>(numbers);
  double sum = 0;
  for (int64_t i = 0; i < numbers.numel(); ++i) sum += x[i];
  return sum;
}

}  // namespace

void step_verdict(Context&, const Tensor& losses, const Tensor& squares,
                  const Tensor& refused, double clip_norm, Tensor& verdict) {
  const double loss = sum_in_order(losses);
  const double norm = std::sqrt(sum_in_order(squares));
  const int64_t* count = elements<int64_t>(refused);
  const bool none_refused = std::all_of(count, count + refused.numel(),
                                        [](int64_t c) { return c == 0; });
  const bool finite =
      none_refused && std::isfinite(norm) && std::isfinite(loss);
  const bool clip = clip_norm > 0 && norm >= clip_norm;
  double* out = elements<double>(verdict);
  out[0] = loss;
  out[1] = norm;
  out[2] = clip ? clip_norm / norm : 1;
  out[3] = finite ? 1 : 0;
}

}  // namespace timepipe::cpu
