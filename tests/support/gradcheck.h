#pragma once

// Finite differences against analytic gradients, in float64.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/tensors.h"

namespace timepipe::testing {

// A tensor that the objective reads, and the gradient to be checked.
struct GradientOf {
  std::string name;
  Tensor value;  // f64; nudged in place while checking, restored after
  Tensor gradient;
};

struct GradcheckOptions {
  double step = 1e-3;       // of fourth-order central differences
  double tolerance = 1e-6;  // relative to the element's or the tensor's size
  int64_t sample = 0;       // elements per tensor, drawn at random; 0: all
  uint64_t seed = 1;        // of that sample
};

// Checks every tensor's gradient of `objective`, a function of the `value`s
// (through the handles: it reads the same memory). Names what fails.
::testing::AssertionResult gradients_agree(
    Context& ctx, const std::function<double()>& objective,
    const std::vector<GradientOf>& tensors,
    const GradcheckOptions& options = {});

// sum of y * dy: the objective whose gradient with respect to y is dy.
double inner_product(Context& ctx, const Tensor& y, const Tensor& dy);

}  // namespace timepipe::testing
