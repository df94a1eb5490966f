#pragma once

// What tests of kernels and layers share: random and NaN-filled tensors,
// tolerances that follow from type and length, comparisons.

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "runtime/context.h"
#include "runtime/transfer.h"

namespace timepipe::testing {

using Generator = std::mt19937_64;

double uniform(Generator& rng);  // in (0,1)

// Box-Muller: unlike std::normal_distribution, the same numbers everywhere.
double normal(Generator& rng);

// f(i) for each element i.
template <class F>
HostArray generate(Shape shape, DType dtype, F&& f) {
  HostArray array(std::move(shape), dtype);
  dispatch_stored(dtype, [&](auto zero) {
    using T = decltype(zero);
    int64_t i = 0;
    for (T& v : array.values<T>())
      v = static_cast<T>(static_cast<double>(f(i++)));
  });
  return array;
}

template <class F>
Tensor generate(Context& ctx, Shape shape, DType dtype, F&& f) {
  return upload(ctx, generate(std::move(shape), dtype, std::forward<F>(f)));
}

Tensor normal(Context& ctx, Generator& rng, Shape shape, DType dtype,
              double stddev = 1);

Tensor normal(Context& ctx, uint64_t seed, Shape shape, DType dtype,
              double stddev = 1);

// For outputs: an element left unwritten, or read, shows.
HostArray nans(Shape shape, DType dtype);

Tensor nans(Context& ctx, Shape shape, DType dtype);

Tensor filled(Context& ctx, double value, Shape shape, DType dtype);

Tensor from_f64(Context& ctx, const std::vector<double>& values, Shape shape,
                DType dtype);

Tensor from_ids(Context& ctx, const std::vector<int64_t>& ids);

// Sets every element: of a slice, for instance.
void fill(Context& ctx, double value, const Tensor& t);

// Of the same shape, also if that has no elements.
Tensor clone(Context& ctx, const Tensor& t);

std::vector<double> to_f64(const HostArray& array);

std::vector<double> to_f64(Context& ctx, const Tensor& t);

std::vector<int64_t> to_i64(Context& ctx, const Tensor& t);

// The one element of a tensor of f64, such as a loss.
double to_number(Context& ctx, const Tensor& t);

// Relative difference of two orders of the same sums in f64.
inline constexpr double kSameF64 = 1e-12;

// The error that sums of `terms` products of size 1 may show: rounding errors
// add like a random walk. kSlack covers the largest of many elements.
double rounding(DType dtype, int64_t terms);

double norm(const std::vector<double>& values);

// |a - b| / |b| over all elements; |a - b| if b is zero. NaN if any is NaN.
double relative_l2(const std::vector<double>& a, const std::vector<double>& b);

// Every element within tolerance * max(1, |expected|). NaN is never close.
::testing::AssertionResult close(const std::vector<double>& actual,
                                 const std::vector<double>& expected,
                                 double tolerance);

::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                 const std::vector<double>& expected,
                                 double tolerance);

::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                 const Tensor& expected, double tolerance);

// The whole tensor within `tolerance` of the expected one's size.
::testing::AssertionResult close_l2(const std::vector<double>& actual,
                                    const std::vector<double>& expected,
                                    double tolerance);

::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                    const std::vector<double>& expected,
                                    double tolerance);

::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                    const Tensor& expected, double tolerance);

::testing::AssertionResult same_bits(const HostArray& a, const HostArray& b);

::testing::AssertionResult same_bits(Context& ctx, const Tensor& a,
                                     const Tensor& b);

}  // namespace timepipe::testing
