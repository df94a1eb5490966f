#include "tests/support/tensors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>

namespace timepipe::testing {

double uniform(Generator& rng) {  // in (0,1)
  return (static_cast<double>(rng() >> 11) + 0.5) * 0x1p-53;
}

double normal(Generator& rng) {
  const double radius = std::sqrt(-2 * std::log(uniform(rng)));
  return radius * std::cos(2 * std::numbers::pi * uniform(rng));
}

Tensor normal(Context& ctx, Generator& rng, Shape shape, DType dtype,
              double stddev) {
  return generate(ctx, std::move(shape), dtype,
                  [&](int64_t) { return stddev * normal(rng); });
}

Tensor normal(Context& ctx, uint64_t seed, Shape shape, DType dtype,
              double stddev) {
  Generator rng(seed);
  return normal(ctx, rng, std::move(shape), dtype, stddev);
}

HostArray nans(Shape shape, DType dtype) {
  return generate(std::move(shape), dtype, [](int64_t) {
    return std::numeric_limits<double>::quiet_NaN();
  });
}

Tensor nans(Context& ctx, Shape shape, DType dtype) {
  return upload(ctx, nans(std::move(shape), dtype));
}

Tensor filled(Context& ctx, double value, Shape shape, DType dtype) {
  return generate(ctx, std::move(shape), dtype, [&](int64_t) { return value; });
}

Tensor from_f64(Context& ctx, const std::vector<double>& values, Shape shape,
                DType dtype) {
  return generate(ctx, std::move(shape), dtype, [&](int64_t i) {
    return values.at(static_cast<std::size_t>(i));
  });
}

Tensor from_ids(Context& ctx, const std::vector<int64_t>& ids) {
  return upload(ctx,
                HostArray({static_cast<int64_t>(ids.size())}, std::span(ids)));
}

void fill(Context& ctx, double value, const Tensor& t) {
  upload(ctx, generate(t.shape(), t.dtype(), [&](int64_t) { return value; }),
         t);
}

Tensor clone(Context& ctx, const Tensor& t) {
  Tensor same = ctx.allocate(t.shape(), t.dtype());
  copy(ctx, t, same);
  return same;
}

std::vector<double> to_f64(const HostArray& array) {
  std::vector<double> values;
  dispatch_stored(array.dtype(), [&](auto zero) {
    const auto all = array.values<decltype(zero)>();
    values.assign(all.begin(), all.end());
  });
  return values;
}

std::vector<double> to_f64(Context& ctx, const Tensor& t) {
  return to_f64(download(ctx, t));
}

std::vector<int64_t> to_i64(Context& ctx, const Tensor& t) {
  std::vector<int64_t> values(static_cast<std::size_t>(t.numel()));
  download(ctx, t, std::span(values));
  return values;
}

double to_number(Context& ctx, const Tensor& t) {
  double number = 0;
  download(ctx, t, std::span(&number, 1));
  return number;
}

double rounding(DType dtype, int64_t terms) {
  constexpr double kSlack = 8;
  const double eps = dtype == DType::kF32
                         ? std::numeric_limits<float>::epsilon()
                         : std::numeric_limits<double>::epsilon();
  return kSlack * eps *
         std::sqrt(static_cast<double>(std::max<int64_t>(terms, 1)));
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return std::sqrt(sum);
}

double relative_l2(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b.at(i);
  const double size = norm(b);
  return size == 0 ? norm(difference) : norm(difference) / size;
}

::testing::AssertionResult close(const std::vector<double>& actual,
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

::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                 const std::vector<double>& expected,
                                 double tolerance) {
  return close(to_f64(ctx, actual), expected, tolerance);
}

::testing::AssertionResult close(Context& ctx, const Tensor& actual,
                                 const Tensor& expected, double tolerance) {
  if (actual.shape() != expected.shape()) {
    return ::testing::AssertionFailure()
           << "shape " << to_string(actual.shape()) << ", expected "
           << to_string(expected.shape());
  }
  return close(to_f64(ctx, actual), to_f64(ctx, expected), tolerance);
}

::testing::AssertionResult close_l2(const std::vector<double>& actual,
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

::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                    const std::vector<double>& expected,
                                    double tolerance) {
  return close_l2(to_f64(ctx, actual), expected, tolerance);
}

::testing::AssertionResult close_l2(Context& ctx, const Tensor& actual,
                                    const Tensor& expected, double tolerance) {
  return close_l2(to_f64(ctx, actual), to_f64(ctx, expected), tolerance);
}

::testing::AssertionResult same_bits(const HostArray& a, const HostArray& b) {
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

::testing::AssertionResult same_bits(Context& ctx, const Tensor& a,
                                     const Tensor& b) {
  return same_bits(download(ctx, a), download(ctx, b));
}

}  // namespace timepipe::testing
