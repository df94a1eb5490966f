#include "tests/support/gradcheck.h"

#include <algorithm>
#include <cmath>

namespace timepipe::testing {
namespace {

// The derivative at the element `x` [1] of f64 from four values around it:
// error O(step^4).
double central_difference(Context& ctx,
                          const std::function<double()>& objective,
                          const Tensor& x, double step) {
  const double at = to_number(ctx, x);
  const auto value = [&](double shift) {
    fill(ctx, at + shift, x);
    return objective();
  };
  const double near = value(step) - value(-step);
  const double far = value(2 * step) - value(-2 * step);
  fill(ctx, at, x);
  return (8 * near - far) / (12 * step);
}

}  // namespace

::testing::AssertionResult gradients_agree(
    Context& ctx, const std::function<double()>& objective,
    const std::vector<GradientOf>& tensors, const GradcheckOptions& options) {
  Generator rng(options.seed);
  for (const GradientOf& tensor : tensors) {
    const int64_t n = tensor.value.numel();
    if (tensor.gradient.shape() != tensor.value.shape()) {
      return ::testing::AssertionFailure()
             << tensor.name << ": gradient of shape "
             << to_string(tensor.gradient.shape()) << ", value of shape "
             << to_string(tensor.value.shape());
    }
    // Elements that cancel are judged by the size of their neighbours; below
    // kNoise a gradient can't be told from zero.
    constexpr double kNoise = 1e-4;
    const std::vector<double> gradient = to_f64(ctx, tensor.gradient);
    const Tensor flat = tensor.value.reshape({n});
    const double size = std::max(
        kNoise, norm(gradient) /
                    std::sqrt(static_cast<double>(std::max<int64_t>(n, 1))));
    const int64_t checks =
        options.sample == 0 ? n : std::min(options.sample, n);
    for (int64_t check = 0; check < checks; ++check) {
      const int64_t i =
          checks == n ? check
                      : static_cast<int64_t>(rng() % static_cast<uint64_t>(n));
      const double expected = central_difference(
          ctx, objective, flat.slice(i, i + 1), options.step);
      const double actual = gradient[static_cast<std::size_t>(i)];
      const double error = std::abs(actual - expected);
      if (error <= options.tolerance * std::max(size, std::abs(expected))) {
        continue;
      }
      return ::testing::AssertionFailure()
             << tensor.name << ": gradient of element " << i << " of " << n
             << " is " << actual << ", finite differences give " << expected;
    }
  }
  return ::testing::AssertionSuccess();
}

double inner_product(Context& ctx, const Tensor& y, const Tensor& dy) {
  const std::vector<double> a = to_f64(ctx, y), b = to_f64(ctx, dy);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b.at(i);
  return sum;
}

}  // namespace timepipe::testing
