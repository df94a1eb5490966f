#include "kernels/rows.h"

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

TEST(PushRows, KeepsTheLastRowsOfBoth) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor before = normal(ctx, 1, {3, 5}, dtype);
    for (const int64_t rows : {0, 1, 2, 3, 7}) {
      const Tensor x = normal(ctx, 2, {rows, 5}, dtype);
      std::vector<double> all = to_f64(ctx, before);
      for (const double v : to_f64(ctx, x)) all.push_back(v);
      Tensor halo = clone(ctx, before);
      push_rows(ctx, x, rows_of_one(rows), halo);
      EXPECT_TRUE(close(ctx, halo, {all.end() - 3 * 5, all.end()}, 0)) << rows;
    }
  }
}

// Sequences side by side, with rows of padding between.
TEST(PushRows, OfMembersAreThoseOfEach) {
  const ChunkRows rows{.members = 3, .tokens = 5, .stride = 8};
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor x = normal(ctx, 2, {rows.count(), 2}, dtype);
    for (const int64_t n : {2, 7}) {
      const Tensor before = normal(ctx, 1, {3 * n, 2}, dtype);
      Tensor halo = clone(ctx, before);
      push_rows(ctx, x, rows, halo);
      for (int64_t m = 0; m < 3; ++m) {
        Tensor one = clone(ctx, before.slice(m * n, (m + 1) * n));
        push_rows(ctx, x.slice(8 * m, 8 * m + 5), rows_of_one(5), one);
        EXPECT_TRUE(same_bits(ctx, halo.slice(m * n, (m + 1) * n), one));
      }
    }
  }
}

TEST(PushRowsBackward, AddsToTheLastRowsOfEachMember) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const ChunkRows rows{.members = 2, .tokens = 3, .stride = 4};
    const Tensor dhalo = from_f64(ctx, {1, 2, 3, 4}, {4, 1}, dtype);
    Tensor dx = from_f64(ctx, {10, 20, 30, 40, 50, 60, 70}, {7, 1}, dtype);
    push_rows_backward(ctx, dhalo, rows, dx);
    EXPECT_TRUE(close(ctx, dx, {10, 21, 32, 40, 50, 63, 74}, 0));
  }
}

TEST(PushRows, OfNoneKeepsNothing) {
  TestContext ctx;
  Tensor halo = ctx.zeros({0, 5}, DType::kF32);
  push_rows(ctx, normal(ctx, 1, {2, 5}, DType::kF32), rows_of_one(2), halo);
  EXPECT_EQ(halo.shape(), (Shape{0, 5}));
}

TEST(TakeElements, TakesThemInTheOrderOfTheIndex) {
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const Tensor from = from_f64(ctx, {5, 6, 7, 8}, {4}, dtype);
    Tensor to = nans(ctx, {5}, dtype);
    take_elements(ctx, from, from_ids(ctx, {3, 0, 0, 2, 1}), to);
    EXPECT_TRUE(close(ctx, to, {8, 5, 5, 7, 6}, 0));
    Tensor none = nans(ctx, {0}, dtype);
    take_elements(ctx, from, from_ids(ctx, {}), none);
  }
}

TEST(RowsArguments, AreChecked) {
  TestContext ctx;
  const Tensor x = filled(ctx, 1, {4, 5}, DType::kF32);
  Tensor narrow = filled(ctx, 1, {3, 4}, DType::kF32);
  Tensor wide = filled(ctx, 1, {3, 5}, DType::kF64);
  EXPECT_THAT([&] { push_rows(ctx, x, rows_of_one(4), narrow); },
              refuses("halo: shape [3,4], expected [3,5]"));
  EXPECT_THAT([&] { push_rows(ctx, x, rows_of_one(4), wide); },
              refuses("halo: dtype f64"));
  Tensor halo = filled(ctx, 1, {3, 5}, DType::kF32);
  EXPECT_THAT(
      [&] {
        push_rows(ctx, x, {2, 2, 2}, halo);
      },
      refuses("halo: 3 rows, expected a multiple of 2"));
  EXPECT_THAT(
      [&] {
        push_rows(ctx, x, {2, 2, 4}, halo);
      },
      refuses("x: shape [4,5], expected [6,5]"));
  EXPECT_THAT(
      [&] {
        push_rows(ctx, x, {0, 4, 4}, halo);
      },
      refuses("rows.members: 0, expected 1 or more"));
  Tensor few = filled(ctx, 1, {2, 5}, DType::kF32);
  EXPECT_THAT([&] { push_rows_backward(ctx, halo, rows_of_one(2), few); },
              refuses("rows.tokens: 2, expected those of a halo or more, 3"));
  const Tensor from = filled(ctx, 1, {4}, DType::kF32);
  Tensor to = filled(ctx, 1, {2}, DType::kF32);
  EXPECT_THAT([&] { take_elements(ctx, from, from_ids(ctx, {0}), to); },
              refuses("to: shape [2], expected [1]"));
  EXPECT_THAT([&] { take_elements(ctx, from, from, to); },
              refuses("index: dtype f32"));
}

}  // namespace
}  // namespace timepipe
