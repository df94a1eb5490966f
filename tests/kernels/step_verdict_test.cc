#include "kernels/step_verdict.h"

#include <cmath>
#include <limits>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

StepVerdict verdict_of(const std::vector<double>& losses,
                       const std::vector<double>& squares,
                       const std::vector<int64_t>& refused, double clip_norm) {
  TestContext ctx;
  const auto numbers = [&](const std::vector<double>& values) {
    return from_f64(ctx, values, {std::ssize(values)}, DType::kF64);
  };
  Tensor verdict = nans(ctx, {kVerdictSize}, DType::kF64);
  step_verdict(ctx, numbers(losses), numbers(squares), from_ids(ctx, refused),
               clip_norm, verdict);
  return StepVerdict::of(to_f64(ctx, verdict).data());
}

TEST(StepVerdict, AddsInTheOrderOfItsInputs) {
  // 2^53 takes no 1 that comes after it.
  EXPECT_EQ(verdict_of({0x1p53, 1, 1}, {9}, {0}, 0).loss, 0x1p53);
  EXPECT_EQ(verdict_of({1, 1, 0x1p53}, {9}, {0}, 0).loss, 0x1p53 + 2);
  EXPECT_EQ(verdict_of({}, {0x1p106, 0x1p53, 0x1p53}, {0}, 0).grad_norm,
            0x1p53);
  const StepVerdict plain = verdict_of({0.5, 0.25}, {9, 7, 9}, {0, 0}, 0);
  EXPECT_EQ(plain.loss, 0.75);
  EXPECT_EQ(plain.grad_norm, 5);
  EXPECT_EQ(plain.factor, 1);
  EXPECT_EQ(plain.finite, 1);
}

TEST(StepVerdict, AddsManyInTheirOrderToo) {
  Generator rng(1);
  for (const int n : {255, 256, 257, 1000}) {
    std::vector<double> losses, squares;
    double loss = 0, square = 0;
    for (int i = 0; i < n; ++i) {
      losses.push_back(std::exp(20 * normal(rng)));
      squares.push_back(std::exp(20 * normal(rng)));
      loss += losses.back();
      square += squares.back();
    }
    const StepVerdict verdict = verdict_of(losses, squares, {0}, 0);
    EXPECT_EQ(verdict.loss, loss) << n;
    EXPECT_EQ(verdict.grad_norm, std::sqrt(square)) << n;
  }
}

TEST(StepVerdict, ClipsFromTheNormAskedOn) {
  const auto factor = [](double clip_norm) {
    return verdict_of({1}, {9, 16}, {0}, clip_norm).factor;
  };
  EXPECT_EQ(factor(0), 1);
  EXPECT_EQ(factor(5.5), 1);
  EXPECT_EQ(factor(5), 1);
  EXPECT_EQ(factor(2.5), 0.5);
  EXPECT_EQ(verdict_of({1}, {0}, {0}, 1).factor, 1);
}

TEST(StepVerdict, IsNotFiniteIfAnythingIsNot) {
  EXPECT_EQ(verdict_of({1}, {1}, {0, 0, 1}, 1).finite, 0);
  for (const double bad : {std::nan(""), kInfinity}) {
    EXPECT_EQ(verdict_of({1, bad}, {1}, {0}, 1).finite, 0);
    EXPECT_EQ(verdict_of({1}, {bad, 1}, {0}, 1).finite, 0);
  }
  EXPECT_EQ(verdict_of({kInfinity, -kInfinity}, {1}, {0}, 1).finite, 0);
  EXPECT_EQ(verdict_of({}, {}, {}, 1).finite, 1);
}

TEST(StepVerdict, ArgumentsAreChecked) {
  TestContext ctx;
  const Tensor numbers = filled(ctx, 1, {2}, DType::kF64);
  const Tensor ids = from_ids(ctx, {0});
  Tensor verdict = nans(ctx, {kVerdictSize}, DType::kF64);
  Tensor small = nans(ctx, {3}, DType::kF64);
  EXPECT_THAT([&] { step_verdict(ctx, ids, numbers, ids, 1, verdict); },
              refuses("losses: dtype i64"));
  EXPECT_THAT([&] { step_verdict(ctx, numbers, ids, ids, 1, verdict); },
              refuses("squares: dtype i64"));
  EXPECT_THAT([&] { step_verdict(ctx, numbers, numbers, numbers, 1, verdict); },
              refuses("refused: dtype f64"));
  EXPECT_THAT([&] { step_verdict(ctx, numbers, numbers, ids, 1, small); },
              refuses("verdict: shape [3], expected [4]"));
}

}  // namespace
}  // namespace timepipe
