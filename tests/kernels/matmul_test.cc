#include "kernels/matmul.h"

#include <string>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

struct Sizes {
  int64_t M, N, K;
};

Shape shape_of_a(Form form, const Sizes& s) {
  return form == Form::kTN ? Shape{s.K, s.M} : Shape{s.M, s.K};
}

Shape shape_of_b(Form form, const Sizes& s) {
  return form == Form::kNT ? Shape{s.N, s.K} : Shape{s.K, s.N};
}

std::vector<double> product(Form form, const Sizes& s,
                            const std::vector<double>& a,
                            const std::vector<double>& b) {
  std::vector<double> c(static_cast<std::size_t>(s.M * s.N), 0);
  for (int64_t i = 0; i < s.M; ++i) {
    for (int64_t j = 0; j < s.N; ++j) {
      for (int64_t k = 0; k < s.K; ++k) {
        c[i * s.N + j] += a[form == Form::kTN ? k * s.M + i : i * s.K + k] *
                          b[form == Form::kNT ? j * s.K + k : k * s.N + j];
      }
    }
  }
  return c;
}

using Case = std::tuple<Form, DType, Sizes>;
class Matmul : public ::testing::TestWithParam<Case> {};

TEST_P(Matmul, AgreesWithTheDefinition) {
  const auto& [form, dtype, s] = GetParam();
  TestContext ctx;
  Generator rng(7);
  const Tensor a = normal(ctx, rng, shape_of_a(form, s), dtype);
  const Tensor b = normal(ctx, rng, shape_of_b(form, s), dtype);
  Tensor c = nans(ctx, {s.M, s.N}, dtype);

  matmul(ctx, form, a, b, c);

  const std::vector<double> expected =
      product(form, s, to_f64(ctx, a), to_f64(ctx, b));
  EXPECT_TRUE(close(ctx, c, expected, rounding(dtype, s.K)));
}

TEST_P(Matmul, AddsToWhatIsThere) {
  const auto& [form, dtype, s] = GetParam();
  TestContext ctx;
  Generator rng(8);
  const Tensor a = normal(ctx, rng, shape_of_a(form, s), dtype);
  const Tensor b = normal(ctx, rng, shape_of_b(form, s), dtype);
  Tensor c = normal(ctx, rng, {s.M, s.N}, dtype);
  std::vector<double> expected =
      product(form, s, to_f64(ctx, a), to_f64(ctx, b));
  const std::vector<double> before = to_f64(ctx, c);
  for (std::size_t i = 0; i < before.size(); ++i) expected[i] += before[i];

  matmul(ctx, form, a, b, c, Write::kAdd);

  EXPECT_TRUE(close(ctx, c, expected, rounding(dtype, s.K + 1)));
}

INSTANTIATE_TEST_SUITE_P(
    OddShapes, Matmul,
    Combine(Values(Form::kNN, Form::kNT, Form::kTN),
            Values(DType::kF32, DType::kF64),
            Values(Sizes{1, 1, 1}, Sizes{7, 17, 1}, Sizes{17, 1, 7},
                   Sizes{1, 64, 17}, Sizes{7, 7, 64}, Sizes{65, 63, 66},
                   Sizes{129, 300, 5}, Sizes{300, 17, 70}, Sizes{3, 5, 0},
                   Sizes{0, 5, 3}, Sizes{5, 0, 3})));

// Shapes at which oneDNN's own threads change bits, and many tiles.
using ThreadCase = std::tuple<Form, DType, Sizes>;
class MatmulThreads : public ::testing::TestWithParam<ThreadCase> {};

TEST_P(MatmulThreads, DoNotChangeBits) {
  const auto& [form, dtype, s] = GetParam();
  TestContext ctx;
  Generator rng(9);
  const Tensor a = normal(ctx, rng, shape_of_a(form, s), dtype);
  const Tensor b = normal(ctx, rng, shape_of_b(form, s), dtype);
  EXPECT_TRUE(
      same_bits_for_any_threads(ctx, [&, form = form, s = s, dtype = dtype] {
        Tensor c = nans(ctx, {s.M, s.N}, dtype);
        matmul(ctx, form, a, b, c);
        Tensor sum = clone(ctx, c);
        matmul(ctx, form, a, b, sum, Write::kAdd);
        return std::vector<Tensor>{c, sum};
      }));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, MatmulThreads,
    ::testing::Values(ThreadCase{Form::kTN, DType::kF32, {64, 64, 4096}},
                      ThreadCase{Form::kNT, DType::kF32, {4096, 4, 256}},
                      ThreadCase{Form::kNN, DType::kF32, {256, 256, 64}},
                      ThreadCase{Form::kNT, DType::kF32, {256, 520, 16}},
                      ThreadCase{Form::kTN, DType::kF32, {520, 256, 17}},
                      ThreadCase{Form::kNN, DType::kF32, {17, 1, 7}},
                      ThreadCase{Form::kNT, DType::kF32, {1, 700, 300}},
                      ThreadCase{Form::kTN, DType::kF32, {300, 7, 1}},
                      ThreadCase{Form::kTN, DType::kF64, {64, 64, 512}},
                      ThreadCase{Form::kNT, DType::kF64, {300, 4, 256}},
                      ThreadCase{Form::kNN, DType::kF64, {130, 200, 65}}));

TEST(MatmulTeams, OfOneThreadDoNotChangeBits) {
  TestContext ctx;
  const Tensor a = normal(ctx, 1, {4096, 64}, DType::kF32);
  const Tensor b = normal(ctx, 2, {4096, 64}, DType::kF32);
  Tensor expected = nans(ctx, {64, 64}, DType::kF32);
  matmul(ctx, Form::kTN, a, b, expected);
  const TeamsOfOne teams;
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor c = nans(ctx, {64, 64}, DType::kF32);
    matmul(ctx, Form::kTN, a, b, c);
    EXPECT_TRUE(same_bits(ctx, c, expected));
    return std::vector<Tensor>{c};
  }));
}

TEST(MatmulArguments, AreChecked) {
  TestContext ctx;
  const Tensor a = filled(ctx, 1, {2, 3}, DType::kF32);
  const Tensor b = filled(ctx, 1, {4, 3}, DType::kF32);
  const Tensor b64 = filled(ctx, 1, {4, 3}, DType::kF64);
  Tensor c = nans(ctx, {2, 4}, DType::kF32), flat = nans(ctx, {8}, DType::kF32);
  EXPECT_THAT([&] { matmul(ctx, Form::kNN, a, b, c); },
              refuses("b: shape [4,3], expected [3,3]"));
  EXPECT_THAT([&] { matmul(ctx, Form::kNT, a, b64, c); },
              refuses("b: dtype f64"));
  EXPECT_THAT([&] { matmul(ctx, Form::kNT, b, a, c); },
              refuses("c: shape [2,4], expected [4,2]"));
  EXPECT_THAT([&] { matmul(ctx, Form::kNT, flat, b, c); },
              refuses("a: shape [8]"));
  const Tensor ids = from_ids(ctx, {1, 2});
  EXPECT_THAT([&] { matmul(ctx, Form::kNT, ids, b, c); },
              refuses("a: dtype i64"));
}

}  // namespace
}  // namespace timepipe
