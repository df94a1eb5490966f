// Kernels whose operands are stored in bf16: they compute as those of f32 do,
// and what they store is that, rounded once.

#include "runtime/bf16.h"

#include "kernels/causal_conv.h"
#include "kernels/cross_entropy.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/pointwise.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr DType kWide = DType::kF32, kStored = DType::kBF16;

// The same numbers in both types.
struct Both {
  Tensor stored, wide;
};

class StoredInBf16 : public ::testing::Test {
 protected:
  Both operand(Shape shape) {
    const HostArray stored = download(
        ctx_, normal(ctx_, rng_, std::move(shape), kStored, /*stddev=*/1));
    return {upload(ctx_, stored), upload(ctx_, converted(stored, kWide))};
  }
  Tensor wide(Shape shape) {
    return normal(ctx_, rng_, std::move(shape), kWide);
  }
  // Outputs.
  Both both(const Shape& shape) {
    return {nans(ctx_, shape, kStored), nans(ctx_, shape, kWide)};
  }

  Both statistics(int64_t rows) {
    return {nans(ctx_, {rows}, kWide), nans(ctx_, {rows}, kWide)};
  }

  void expect_rounded(const Both& result) {
    testing::expect_rounded(ctx_, result.stored, result.wide);
  }
  void expect_same(const Tensor& a, const Tensor& b) {
    EXPECT_TRUE(same_bits(ctx_, a, b));
  }

  TestContext ctx_;
  Generator rng_{29};
};

TEST_F(StoredInBf16, Round) {
  Both y = both({3, 7});
  y.wide = wide({3, 7});
  round(ctx_, y.wide, y.stored);
  expect_rounded(y);
}

TEST_F(StoredInBf16, RmsNorm) {
  for (const int64_t C : {33, 1030}) {
    const Tensor x = wide({5, C}), w = wide({C});
    Both y = both({5, C}), rstd = statistics(5);
    rmsnorm_forward(ctx_, x, w, 1e-6, y.stored, rstd.stored);
    rmsnorm_forward(ctx_, x, w, 1e-6, y.wide, rstd.wide);
    expect_rounded(y);
    expect_same(rstd.stored, rstd.wide);
  }
}

TEST_F(StoredInBf16, LayerNorm) {
  for (const int64_t C : {33, 1030}) {
    const Tensor x = wide({5, C}), w = wide({C}), b = wide({C});
    Both y = both({5, C});
    Both mean = statistics(5), rstd = statistics(5);
    layernorm_forward(ctx_, x, w, b, 1e-6, y.stored, mean.stored, rstd.stored);
    layernorm_forward(ctx_, x, w, b, 1e-6, y.wide, mean.wide, rstd.wide);
    expect_rounded(y);
    expect_same(mean.stored, mean.wide);
    expect_same(rstd.stored, rstd.wide);
  }
}

TEST_F(StoredInBf16, Rope) {
  for (const Rotation rotation : {Rotation::kForward, Rotation::kBackward}) {
    Both x = operand({19, 24});
    rope(ctx_, rotation, /*heads=*/3, /*mini_batch=*/16, 1e4, x.stored, 5);
    rope(ctx_, rotation, /*heads=*/3, /*mini_batch=*/16, 1e4, x.wide, 5);
    expect_rounded(x);
  }
}

TEST_F(StoredInBf16, Swiglu) {
  for (const Shape& shape : {Shape{3, 50}, Shape{3, 52}}) {
    const Both a = operand(shape), b = operand(shape), dy = operand(shape);
    Both y = both(shape), da = both(shape), db = both(shape);
    swiglu_forward(ctx_, a.stored, b.stored, y.stored);
    swiglu_forward(ctx_, a.wide, b.wide, y.wide);
    expect_rounded(y);
    swiglu_backward(ctx_, dy.stored, a.stored, b.stored, da.stored, db.stored);
    swiglu_backward(ctx_, dy.wide, a.wide, b.wide, da.wide, db.wide);
    expect_rounded(da);
    expect_rounded(db);
  }
}

TEST_F(StoredInBf16, GeluGate) {
  for (const Shape& shape : {Shape{3, 50}, Shape{3, 52}}) {
    const Tensor x = wide(shape);
    const Both g = operand(shape), dy = operand(shape);
    Both y = both(shape), dg = both(shape);
    Both dx{nans(ctx_, shape, kWide), nans(ctx_, shape, kWide)};
    gelu_gate_forward(ctx_, x, g.stored, y.stored);
    gelu_gate_forward(ctx_, x, g.wide, y.wide);
    expect_rounded(y);
    gelu_gate_backward(ctx_, dy.stored, x, g.stored, dx.stored, dg.stored);
    gelu_gate_backward(ctx_, dy.wide, x, g.wide, dx.wide, dg.wide);
    expect_rounded(dg);
    expect_same(dx.stored, dx.wide);
  }
}

// Two members; the second goes on from its halo, a document ends in the first.
TEST_F(StoredInBf16, CausalConv) {
  constexpr int64_t kRows = 23, kWidth = 600, kTaps = 4;
  const std::vector<Segment> segments = {
      {.row = 0, .rows = 6, .context = 0, .resets = true},
      {.row = 8, .rows = 3, .context = 0, .resets = true},
      {.row = 12, .rows = 11, .context = 9, .resets = false, .member = 1}};
  const Both x = operand({kRows, kWidth}), dy = operand({kRows, kWidth});
  const Tensor halo = wide({2 * (kTaps - 1), kWidth});
  const Tensor w = wide({kWidth, 1, kTaps}), bias = wide({kWidth});
  Both y = both({kRows, kWidth});
  causal_conv_forward(ctx_, x.stored, halo, w, bias, segments, y.stored);
  causal_conv_forward(ctx_, x.wide, halo, w, bias, segments, y.wide);
  expect_rounded(y);

  struct Gradients {
    Tensor dx, dhalo, dw, dbias;
  };
  const auto backward = [&](const Tensor& dy, const Tensor& x) {
    Gradients d{nans(ctx_, {kRows, kWidth}, kWide),
                nans(ctx_, halo.shape(), kWide), nans(ctx_, w.shape(), kWide),
                nans(ctx_, bias.shape(), kWide)};
    causal_conv_backward(ctx_, dy, x, halo, w, segments, d.dx, d.dhalo,
                         Write::kOverwrite, d.dw, d.dbias);
    return d;
  };
  const Gradients a = backward(dy.stored, x.stored);
  const Gradients b = backward(dy.wide, x.wide);
  expect_same(a.dx, b.dx);
  expect_same(a.dhalo, b.dhalo);
  expect_same(a.dw, b.dw);
  expect_same(a.dbias, b.dbias);
}

TEST_F(StoredInBf16, InnerRate) {
  const Both u = operand({9, 40});
  const Tensor w = wide({2, 1, 40}), bias = wide({2, 1}), dlr = wide({9, 2});
  struct Results {
    Tensor gate, lr, du, dw, dbias;
  };
  const auto run = [&](const Tensor& u) {
    Results r{nans(ctx_, {9, 2}, kWide), nans(ctx_, {9, 2}, kWide),
              filled(ctx_, 0.5, {9, 40}, kWide), nans(ctx_, {2, 1, 40}, kWide),
              nans(ctx_, {2, 1}, kWide)};
    inner_rate_forward(ctx_, u, w, bias, 0.3, r.gate, r.lr);
    inner_rate_backward(ctx_, dlr, u, w, r.gate, 0.3, r.du, r.dw, r.dbias);
    return r;
  };
  const Results a = run(u.stored), b = run(u.wide);
  expect_same(a.gate, b.gate);
  expect_same(a.lr, b.lr);
  expect_same(a.du, b.du);
  expect_same(a.dw, b.dw);
  expect_same(a.dbias, b.dbias);
}

// One row is pushed onto a halo that keeps two of its own.
TEST_F(StoredInBf16, PushRows) {
  for (const int64_t tokens : {1, 5}) {
    const Both x = operand({tokens, 8});
    const Tensor before = wide({3, 8});
    Tensor a = clone(ctx_, before), b = clone(ctx_, before);
    push_rows(ctx_, x.stored, rows_of_one(tokens), a);
    push_rows(ctx_, x.wide, rows_of_one(tokens), b);
    expect_same(a, b);
  }
}

// Of whole numbers, whose sums are exact in f32 whatever their order, which
// libraries choose by type.
TEST_F(StoredInBf16, Matmul) {
  constexpr int64_t M = 70, N = 51, K = 33;
  const auto operand = [&](const Shape& shape) {
    const HostArray stored = generate(shape, kStored, [&](int64_t) {
      return static_cast<double>(rng_() % 17) - 8;
    });
    return Both{upload(ctx_, stored), upload(ctx_, converted(stored, kWide))};
  };
  for (const Form form : {Form::kNN, Form::kNT, Form::kTN}) {
    const Both a = operand(form == Form::kTN ? Shape{K, M} : Shape{M, K});
    const Both b = operand(form == Form::kNT ? Shape{N, K} : Shape{K, N});
    Both c = both({M, N});
    matmul(ctx_, form, a.stored, b.stored, c.stored);
    matmul(ctx_, form, a.wide, b.wide, c.wide);
    expect_rounded(c);
    // Sums that others are added to stay f32.
    Tensor sum = clone(ctx_, c.wide), expected = clone(ctx_, c.wide);
    matmul(ctx_, form, a.stored, b.stored, sum, Write::kAdd);
    matmul(ctx_, form, a.wide, b.wide, expected, Write::kAdd);
    expect_same(sum, expected);
    EXPECT_THAT(
        [&] { matmul(ctx_, form, a.stored, b.stored, c.stored, Write::kAdd); },
        refuses("c: dtype bf16, expected f32 to add to"));
    EXPECT_THAT([&] { matmul(ctx_, form, a.wide, b.stored, c.wide); },
                refuses("b: dtype bf16, expected f32"));
  }
}

// The table is the identity: logits are x, and dx their gradient.
class GradientsOfLogits : public StoredInBf16,
                          public ::testing::WithParamInterface<int64_t> {};

TEST_P(GradientsOfLogits, AreRounded) {
  constexpr int64_t kRows = 6;
  const int64_t vocab = GetParam();
  const auto identity = [&](DType dtype) {
    return generate(ctx_, {vocab, vocab}, dtype, [&](int64_t i) {
      return i / vocab == i % vocab ? 1. : 0.;
    });
  };
  const Both x = operand({kRows, vocab});
  const Both table{identity(kStored), identity(kWide)};
  const Tensor targets = from_ids(ctx_, {3, kIgnoredTarget, 0, 19, 7, 7});
  const Tensor scales = from_f64(ctx_, {0.25}, {1}, DType::kF64);
  struct Results {
    Tensor loss, dx, dtable;
  };
  const auto run = [&](const Tensor& x, const Tensor& table) {
    Results r{nans(ctx_, {1}, DType::kF64), nans(ctx_, {kRows, vocab}, kWide),
              nans(ctx_, {vocab, vocab}, kWide)};
    cross_entropy_forward_backward(
        ctx_, {rows_of_one(kRows), x, table, targets, scales}, r.loss, r.dx,
        r.dtable);
    return r;
  };
  const Results stored = run(x.stored, table.stored);
  const Results computed = run(x.wide, table.wide);
  expect_same(stored.loss, computed.loss);
  Tensor loss = nans(ctx_, {1}, DType::kF64);
  cross_entropy_forward(
      ctx_, {rows_of_one(kRows), x.stored, table.stored, targets, scales},
      loss);
  expect_same(loss, computed.loss);
  Both dlogits = both({kRows, vocab});
  round(ctx_, stored.dx, dlogits.stored);
  expect_rounded({dlogits.stored, computed.dx});
  Tensor dtable = nans(ctx_, {vocab, vocab}, kWide);
  matmul(ctx_, Form::kTN, dlogits.stored, x.stored, dtable);
  expect_same(stored.dtable, dtable);
  EXPECT_FALSE(same_bits(ctx_, stored.dx, computed.dx));
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, GradientsOfLogits, Values(20, 1030));

}  // namespace
}  // namespace timepipe
