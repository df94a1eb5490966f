// Matrix products of which one or two matrices have more than 2^31 elements.
// The numbers are small integers, so that every order of summation gives the
// same sums.

#include "kernels/matmul.h"
#include "tests/kernels/long_tensors.h"

namespace timepipe {
namespace {

using namespace testing;

class LongMatmul : public LongTest, public ::testing::WithParamInterface<Form> {
 protected:
  static constexpr int64_t kShort = 16;  // the dimensions that aren't long

  Tensor integers(Shape shape, DType dtype = DType::kF32) {
    return generate(ctx, std::move(shape), dtype, [&](int64_t) {
      return static_cast<double>(static_cast<int64_t>(rng() % 9) - 4);
    });
  }
  // Of A or B: its long dimension is that of the rows or that of the columns.
  Operand matrix(const Windows& windows, bool rows_are_long, int64_t columns,
                 DType dtype = DType::kF32) {
    if (rows_are_long) {
      return input(windows, integers({windows.few(), columns}, dtype));
    }
    return input(windows, integers({columns, windows.few()}, dtype), columns);
  }
  Operand both(const Tensor& matrix) { return {matrix, matrix}; }

  bool a_is_turned() const { return GetParam() == Form::kTN; }
  bool b_is_turned() const { return GetParam() == Form::kNT; }
};

TEST_P(LongMatmul, ManyRowsOfC) {
  const Windows M(16, kShort);
  const Operand a = matrix(M, !a_is_turned(), kShort),
                b = both(integers({kShort, kShort}));
  Operand c = output(M, {M.few(), kShort});

  for (const auto part : kBoth) {
    matmul(ctx, GetParam(), a.*part, b.*part, c.*part);
  }

  EXPECT_TRUE(windows_agree(M, c));
}

TEST_P(LongMatmul, ManyColumnsOfC) {
  const Windows N(16, 1, kShort);
  const Operand a = both(integers({kShort, kShort})),
                b = matrix(N, b_is_turned(), kShort);
  Operand c = output(N, {kShort, N.few()}, DType::kF32, kShort);

  for (const auto part : kBoth) {
    matmul(ctx, GetParam(), a.*part, b.*part, c.*part);
  }

  EXPECT_TRUE(windows_agree(N, c));
}

TEST_P(LongMatmul, ManyTerms) {
  const Windows K(16, kShort);
  const Operand a = matrix(K, a_is_turned(), kShort),
                b = matrix(K, !b_is_turned(), kShort);
  Operand c = sums({kShort, kShort});

  for (const auto part : kBoth) {
    matmul(ctx, GetParam(), a.*part, b.*part, c.*part);
  }

  EXPECT_TRUE(agree(c));
}

// C of so many f64 and what it is made of would take 17 GB.
TEST_P(LongMatmul, ManyTermsInF64) {
  constexpr int64_t kNarrow = 2;
  const Windows K(16, kNarrow);
  const Operand a = matrix(K, a_is_turned(), kNarrow, DType::kF64),
                b = matrix(K, !b_is_turned(), kNarrow, DType::kF64);
  Operand c = sums({kNarrow, kNarrow}, DType::kF64);

  for (const auto part : kBoth) {
    matmul(ctx, GetParam(), a.*part, b.*part, c.*part);
  }

  EXPECT_TRUE(agree(c));
}

// What has no terms is the plain tiles' in f32, too.
TEST_P(LongMatmul, NoTerms) {
  const Windows M(16, kShort);
  const Shape a = a_is_turned() ? Shape{0, M.size()} : Shape{M.size(), 0};
  const Shape b = b_is_turned() ? Shape{kShort, 0} : Shape{0, kShort};
  Operand c = output(M, {M.few(), kShort});

  matmul(ctx, GetParam(), ctx.allocate(a, DType::kF32),
         ctx.allocate(b, DType::kF32), c.all);
  clear(ctx, c.few);

  EXPECT_TRUE(windows_agree(M, c));
}

INSTANTIATE_TEST_SUITE_P(Forms, LongMatmul,
                         ::testing::Values(Form::kNN, Form::kNT, Form::kTN));

}  // namespace
}  // namespace timepipe
