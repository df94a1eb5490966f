#pragma once

// What tests of kernels and layers share: random and NaN-filled tensors,
// tolerances that follow from type and length, comparisons.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/context.h"
#include "runtime/transfer.h"

namespace timepipe::testing {

using Generator = std::mt19937_64;

inline double uniform(Generator& rng) {  // in (0,1)
  return (static_cast<double>(rng() >> 11) + 0.5) * 0x1p-53;
}

// Box-Muller: unlike std::normal_distribution, the same numbers everywhere.
inline double normal(Generator& rng) {
  const double radius = std::sqrt(-2 * std::log(uniform(rng)));
  return radius * std::cos(2 * std::numbers::pi * uniform(rng));
}

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

inline Tensor normal(Context& ctx, Generator& rng, Shape shape, DType dtype,
                     double stddev = 1) {
  return generate(ctx, std::move(shape), dtype,
                  [&](int64_t) { return stddev * normal(rng); });
}

inline Tensor normal(Context& ctx, uint64_t seed, Shape shape, DType dtype,
                     double stddev = 1) {
  Generator rng(seed);
  return normal(ctx, rng, std::move(shape), dtype, stddev);
}

// For outputs: an element left unwritten, or read, shows.
inline HostArray nans(Shape shape, DType dtype) {
  return generate(std::move(shape), dtype, [](int64_t) {
    return std::numeric_limits<double>::quiet_NaN();
  });
}

inline Tensor nans(Context& ctx, Shape shape, DType dtype) {
  return upload(ctx, nans(std::move(shape), dtype));
}

inline Tensor filled(Context& ctx, double value, Shape shape, DType dtype) {
  return generate(ctx, std::move(shape), dtype, [&](int64_t) { return value; });
}

inline Tensor from_f64(Context& ctx, const std::vector<double>& values,
                       Shape shape, DType dtype) {
  return generate(ctx, std::move(shape), dtype, [&](int64_t i) {
    return values.at(static_cast<std::size_t>(i));
  });
}

inline Tensor from_ids(Context& ctx, const std::vector<int64_t>& ids) {
  return upload(ctx,
                HostArray({static_cast<int64_t>(ids.size())}, std::span(ids)));
}

// Sets every element: of a slice, for instance.
inline void fill(Context& ctx, double value, const Tensor& t) {
  upload(ctx, generate(t.shape(), t.dtype(), [&](int64_t) { return value; }),
         t);
}

// Of the same shape, also if that has no elements.
inline Tensor clone(Context& ctx, const Tensor& t) {
  Tensor same = ctx.allocate(t.shape(), t.dtype());
  copy(ctx, t, same);
  return same;
}

inline std::vector<double> to_f64(const HostArray& array) {
  std::vector<double> values;
  dispatch_stored(array.dtype(), [&](auto zero) {
    const auto all = array.values<decltype(zero)>();
    values.assign(all.begin(), all.end());
  });
  return values;
}

inline std::vector<double> to_f64(Context& ctx, const Tensor& t) {
  return to_f64(download(ctx, t));
}

inline std::vector<int64_t> to_i64(Context& ctx, const Tensor& t) {
  std::vector<int64_t> values(static_cast<std::size_t>(t.numel()));
  download(ctx, t, std::span(values));
  return values;
}

// The one element of a tensor of f64, such as a loss.
inline double to_number(Context& ctx, const Tensor& t) {
  double number = 0;
  download(ctx, t, std::span(&number, 1));
  return number;
}

// Relative difference of two orders of the same sums in f64.
inline constexpr double kSameF64 = 1e-12;

// The error that sums of `terms` products of size 1 may show: rounding errors
// add like a random walk. kSlack covers the largest of many elements.
inline double rounding(DType dtype, int64_t terms) {
  constexpr double kSlack = 8;
  const double eps = dtype == DType::kF32
                         ? std::numeric_limits<float>::epsilon()
                         : std::numeric_limits<double>::epsilon();
  return kSlack * eps *
         std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1)));
}

inline double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum);
}

// |a - b| / |b| over all elements; |a - b| if b is zero. NaN if any is NaN.
inline double relative_l2(const std::vector<double>& a,
                          const std::vector<double>& b) {
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b.at(i);
  const double size = norm(b);
  return size == 0 ? norm(difference) : norm(difference) / size;
}

// Every element within tolerance * max(1, |expected|). NaN is never close.
inline ::testing::AssertionResult close(const std::vector<double>& actual,
                                        const std::vector<double>& expected,
                                        double tolerance) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  }
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]);
    if (error <= tolerance * std::max(1., std::abs(expected[i]))) continue;
    return ::testing::AssertionFailure()
           << "element " << i << " of " << actual.size() << " is " << actual[i]
           << ", expected " << expected[i] << ", error " << error
           << ", tolerance " << tolerance;
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                        const std::vector<double>& expected,
                                        double tolerance) {
  return close(to_f64(ctx, actual), expected, tolerance);
}

inline ::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                        const Tensor& expected,
                                        double tolerance) {
  if (actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure()
           << "shape " << to_string(actual.shape()) << ", expected "
           << to_string(expected.shape());
  }
  return close(to_f64(ctx, actual), to_f64(ctx, expected), tolerance);
}

// The whole tensor within `tolerance` of the expected one's size.
inline ::testing::AssertionResult close_l2(const std::vector<double>& actual,
                                           const std::vector<double>& expected,
                                           double tolerance) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << actual.size() << " elements, expected " << expected.size();
  }
  const double error = relative_l2(actual, expected);
  if (error <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "relative L2 error " << error << ", tolerance " << tolerance;
}

inline ::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                           const std::vector<double>& expected,
                                           double tolerance) {
  return close_l2(to_f64(ctx, actual), expected, tolerance);
}

inline ::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                           const Tensor& expected,
                                           double tolerance) {
  return close_l2(to_f64(ctx, actual), to_f64(ctx, expected), tolerance);
}

inline ::testing::AssertionResult same_bits(const HostArray& a,
                                            const HostArray& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) {
    return ::testing::AssertionFailure()
           << name_of(a.dtype()) << to_string(a.shape()) << " and "
           << name_of(b.dtype()) << to_string(b.shape());
  }
  const auto bytes_a = a.bytes(), bytes_b = b.bytes();
  const auto [at, _] =
      std::mismatch(bytes_a.begin(), bytes_a.end(), bytes_b.begin());
  if (at == bytes_a.end()) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "bits differ first at element "
         << (at - bytes_a.begin()) / size_of(a.dtype()) << " of " << a.numel();
}

inline ::testing::AssertionResult same_bits(Context& ctx, const Tensor& a,
                                            const Tensor& b) {
  return same_bits(download(ctx, a), download(ctx, b));
}

}  // namespace timepipe::testing
