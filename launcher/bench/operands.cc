#include "launcher/bench/operands.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/rng.h"

namespace timepipe {
namespace {

// As many numbers as it takes for no size of a model to divide them: a prime.
// Operands read them round and round from places of their own.
constexpr int64_t kNumbers = 65521, kStep = 7919;

const std::vector<double>& normals() {
  static const std::vector<double> numbers = [] {
    HostArray x({kNumbers}, DType::kF64);
    fill_normal(Rng(/*seed=*/1, "bench"), 1, x);
    const auto values = x.values<double>();
    return std::vector<double>(values.begin(), values.end());
  }();
  return numbers;
}

HostArray numbers_of(const HostArray& x) {
  return x.dtype() == DType::kI64 ? HostArray() : converted(x, DType::kF64);
}

}  // namespace

template <class F>
Tensor Operands::input(Shape shape, DType measured, DType here, F&& value) {
  HostArray x(std::move(shape), DType::kF64);
  const std::vector<double>& from = normals();
  int64_t at = static_cast<int64_t>(made_++) * kStep % kNumbers;
  for (double& v : x.values<double>()) {
    v = value(from[at]);
    at = at + 1 == kNumbers ? 0 : at + 1;
  }
  if (measured == DType::kBF16) x = converted(x, measured);
  if (measured != DType::kF64) x = converted(x, DType::kF32);
  Tensor made =
      upload(ctx_, x.dtype() == here ? std::move(x) : converted(x, here));
  bytes_ += made.size_bytes();
  return made;
}

Tensor Operands::stored(Shape shape, double deviation) {
  return input(std::move(shape), measured_.stored, here_.stored,
               [=](double x) { return deviation * x; });
}

Tensor Operands::wide(Shape shape, double deviation) {
  return input(std::move(shape), measured_.wide, here_.wide,
               [=](double x) { return deviation * x; });
}

Tensor Operands::f64(Shape shape, double deviation) {
  return input(std::move(shape), DType::kF64, DType::kF64,
               [=](double x) { return deviation * x; });
}

Tensor Operands::positive(Shape shape, double scale) {
  return input(std::move(shape), measured_.wide, here_.wide,
               [=](double x) { return scale / (1 + std::exp(x)); });
}

Tensor Operands::positive_f64(Shape shape) {
  return input(std::move(shape), DType::kF64, DType::kF64,
               [](double x) { return x * x; });
}

Tensor Operands::ids(int64_t count, int64_t below) {
  const Rng rng(/*seed=*/2, made_++);
  HostArray x({count}, DType::kI64);
  int64_t i = 0;
  for (int64_t& id : x.values<int64_t>()) {
    id = static_cast<int64_t>(rng.uniform(i++) * static_cast<double>(below));
  }
  bytes_ += x.size_bytes();
  return upload(ctx_, x);
}

Tensor Operands::stored_result(std::string name, Shape shape, int64_t terms) {
  Tensor made = result(std::move(name), std::move(shape), here_.stored, terms);
  results_.back().rounded = true;
  return made;
}

Tensor Operands::sum_of_stored(std::string name, Shape shape, int64_t terms) {
  Tensor made = wide_result(std::move(name), std::move(shape), terms);
  results_.back().rounded = true;
  return made;
}

Tensor Operands::wide_result(std::string name, Shape shape, int64_t terms) {
  return result(std::move(name), std::move(shape), here_.wide, terms);
}

Tensor Operands::result(std::string name, Shape shape, DType dtype,
                        int64_t terms) {
  Tensor made = scratch(std::move(shape), dtype);
  bytes_ += made.size_bytes();
  results_.push_back({std::move(name), made, terms, /*rounded=*/false});
  return made;
}

Tensor Operands::changed(std::string name, Tensor input, int64_t terms) {
  bytes_ += input.size_bytes();
  results_.push_back(
      {std::move(name), input, terms, input.dtype() == here_.stored});
  return input;
}

Tensor Operands::scratch(Shape shape, DType dtype) {
  HostArray x(std::move(shape), dtype);
  std::ranges::fill(x.bytes(), std::byte{0xff});  // not a number
  return upload(ctx_, x);
}

double largest_error(const HostArray& actual, const HostArray& expected) {
  require(actual.shape() == expected.shape(), "result: shape ", actual.shape(),
          ", expected ", expected.shape());
  if (expected.dtype() == DType::kI64) {
    return std::ranges::equal(actual.bytes(), expected.bytes())
               ? 0
               : std::numeric_limits<double>::infinity();
  }
  const HostArray a = numbers_of(actual), b = numbers_of(expected);
  double largest = 0, error = 0;
  for (int64_t i = 0; i < b.numel(); ++i) {
    const double x = b.values<double>()[i];
    const double difference = std::abs(a.values<double>()[i] - x);
    if (!(difference <= std::numeric_limits<double>::max())) return NAN;
    largest = std::max(largest, std::abs(x));
    error = std::max(error, difference);
  }
  return error == 0 ? 0 : error / largest;
}

}  // namespace timepipe
