#include "kernels/rope.h"

#include <complex>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr double kTheta = 1e4;

struct Sizes {
  int64_t rows, heads, head_size, mini_batch;
};

// Each pair as a complex number, turned.
std::vector<double> reference(std::vector<double> x, const Sizes& s) {
  for (int64_t i = 0; i < static_cast<int64_t>(x.size()); i += 2) {
    const int64_t row = i / (s.heads * s.head_size);
    const double place = static_cast<double>(i % s.head_size);
    const double angle = static_cast<double>(row % s.mini_batch) *
                         std::pow(kTheta, -place / s.head_size);
    const std::complex<double> turned =
        std::complex<double>(x[i], x[i + 1]) * std::polar(1., angle);
    x[i] = turned.real();
    x[i + 1] = turned.imag();
  }
  return x;
}

using Case = std::tuple<DType, Sizes>;
class Rope : public ::testing::TestWithParam<Case> {};

TEST_P(Rope, AgreesWithTheDefinition) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Tensor x = normal(ctx, 1, {s.rows, s.heads * s.head_size}, dtype);
  const std::vector<double> expected = reference(to_f64(ctx, x), s);
  rope(ctx, Rotation::kForward, s.heads, s.mini_batch, kTheta, x);
  EXPECT_TRUE(close(ctx, x, expected, rounding(dtype, 2)));
}

TEST_P(Rope, BackwardTurnsBack) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Tensor x = normal(ctx, 2, {s.rows, s.heads * s.head_size}, dtype);
  const std::vector<double> before = to_f64(ctx, x);
  rope(ctx, Rotation::kForward, s.heads, s.mini_batch, kTheta, x);
  rope(ctx, Rotation::kBackward, s.heads, s.mini_batch, kTheta, x);
  EXPECT_TRUE(close(ctx, x, before, rounding(dtype, 4)));
}

// Rows from any place on are turned as those of the whole.
TEST_P(Rope, GoesOnFromAPlaceInTheMiniBatch) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Tensor whole = normal(ctx, 1, {s.rows, s.heads * s.head_size}, dtype);
  for (int64_t first = 0; first < s.rows; ++first) {
    const Tensor before = clone(ctx, whole);
    Tensor expected = clone(ctx, whole);
    rope(ctx, Rotation::kForward, s.heads, s.mini_batch, kTheta, expected);
    Tensor rest = before.slice(first, s.rows);
    rope(ctx, Rotation::kForward, s.heads, s.mini_batch, kTheta, rest,
         first % s.mini_batch);
    EXPECT_TRUE(same_bits(ctx, rest, expected.slice(first, s.rows)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, Rope,
    Combine(Values(DType::kF32, DType::kF64),
            Values(Sizes{1, 1, 2, 1}, Sizes{7, 3, 6, 4}, Sizes{17, 2, 64, 16},
                   Sizes{3, 1, 10, 8}, Sizes{0, 2, 4, 4})));

TEST(RopeBackward, AgreesWithFiniteDifferences) {
  TestContext ctx;
  const Tensor x = normal(ctx, 3, {7, 12}, DType::kF64);
  const Tensor dy = normal(ctx, 4, {7, 12}, DType::kF64);
  Tensor dx = clone(ctx, dy);
  rope(ctx, Rotation::kBackward, 2, 4, kTheta, dx);
  const auto objective = [&] {
    Tensor y = clone(ctx, x);
    rope(ctx, Rotation::kForward, 2, 4, kTheta, y);
    return inner_product(ctx, y, dy);
  };
  EXPECT_TRUE(gradients_agree(ctx, objective, {{"x", x, dx}}));
}

TEST(RopeThreads, DoNotChangeBits) {
  TestContext ctx;
  const Tensor x = normal(ctx, 5, {37, 64}, DType::kF32);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor y = clone(ctx, x);
    rope(ctx, Rotation::kForward, 4, 16, kTheta, y);
    return std::vector<Tensor>{y};
  }));
}

TEST(RopeArguments, AreChecked) {
  TestContext ctx;
  Tensor x = filled(ctx, 1, {2, 6}, DType::kF32);
  EXPECT_THAT([&] { rope(ctx, Rotation::kForward, 2, 4, kTheta, x); },
              refuses("x: shape [2,6]"));
  EXPECT_THAT([&] { rope(ctx, Rotation::kForward, 0, 4, kTheta, x); },
              refuses("0 heads"));
  EXPECT_THAT([&] { rope(ctx, Rotation::kForward, 1, 0, kTheta, x); },
              refuses("mini_batch: 0"));
  Tensor ids = from_ids(ctx, {1, 2});
  for (const int64_t place : {-1, 4}) {
    EXPECT_THAT([&] { rope(ctx, Rotation::kForward, 1, 4, kTheta, x, place); },
                refuses("place"));
  }
  EXPECT_THAT([&] { rope(ctx, Rotation::kForward, 1, 4, kTheta, ids); },
              refuses("x: dtype i64"));
}

}  // namespace
}  // namespace timepipe
