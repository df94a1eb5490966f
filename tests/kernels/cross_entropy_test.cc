#include "kernels/cross_entropy.h"

#include <cmath>

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

struct Sizes {
  int64_t rows, C, vocab;
};

struct Operands {
  Operands(Context& ctx, const Sizes& s, DType dtype, uint64_t seed)
      : rows(rows_of_one(s.rows)) {
    Generator rng(seed);
    x = normal(ctx, rng, {s.rows, s.C}, dtype);
    table = normal(ctx, rng, {s.vocab, s.C}, dtype);
    std::vector<int64_t> labels(static_cast<std::size_t>(s.rows));
    for (int64_t& label : labels) {
      label = static_cast<int64_t>(rng() % static_cast<uint64_t>(s.vocab));
    }
    for (std::size_t t = 2; t < labels.size(); t += 3) {
      labels[t] = kIgnoredTarget;
    }
    targets = from_ids(ctx, labels);
    scales = from_f64(ctx, {0.25}, {1}, DType::kF64);
    dx = nans(ctx, {s.rows, s.C}, dtype);
    dtable = nans(ctx, {s.vocab, s.C}, dtype);
  }
  CrossEntropy args() const { return {rows, x, table, targets, scales}; }
  ChunkRows rows;
  Tensor x, table, targets, scales, dx, dtable;
};

double loss_of(Context& ctx, const CrossEntropy& args) {
  Tensor loss = nans(ctx, {1}, DType::kF64);
  cross_entropy_forward(ctx, args, loss);
  return to_number(ctx, loss);
}

// The same, with its gradients.
double backward(Context& ctx, const CrossEntropy& args, Tensor& dx,
                Tensor& dtable) {
  Tensor loss = nans(ctx, {1}, DType::kF64);
  cross_entropy_forward_backward(ctx, args, loss, dx, dtable);
  return to_number(ctx, loss);
}

// The definition in its plainest form: loss, dx and dtable.
struct Reference {
  double loss = 0;
  std::vector<double> logits, dx, dtable;
};

void add_row(Context& ctx, const Operands& o, int64_t t, Reference& out) {
  const auto x = to_f64(ctx, o.x), table = to_f64(ctx, o.table);
  const int64_t C = o.x.dim(1), vocab = o.table.dim(0);
  const int64_t target = to_i64(ctx, o.targets)[t];
  std::vector<double> z(static_cast<std::size_t>(vocab), 0);
  double sum = 0;
  for (int64_t v = 0; v < vocab; ++v) {
    for (int64_t c = 0; c < C; ++c) z[v] += x[t * C + c] * table[v * C + c];
    sum += std::exp(z[v]);
  }
  out.logits.insert(out.logits.end(), z.begin(), z.end());
  if (target == kIgnoredTarget) return;
  out.loss += 0.25 * (std::log(sum) - z[target]);
  for (int64_t v = 0; v < vocab; ++v) {
    const double dz = 0.25 * (std::exp(z[v]) / sum - (v == target ? 1 : 0));
    for (int64_t c = 0; c < C; ++c) {
      out.dx[t * C + c] += dz * table[v * C + c];
      out.dtable[v * C + c] += dz * x[t * C + c];
    }
  }
}

Reference reference(Context& ctx, const Operands& o) {
  Reference out;
  out.dx.resize(static_cast<std::size_t>(o.x.numel()));
  out.dtable.resize(static_cast<std::size_t>(o.table.numel()));
  for (int64_t t = 0; t < o.x.dim(0); ++t) add_row(ctx, o, t, out);
  return out;
}

using Case = std::tuple<DType, Sizes>;
class CrossEntropyLoss : public ::testing::TestWithParam<Case> {};

TEST_P(CrossEntropyLoss, AgreesWithTheDefinition) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Operands o(ctx, s, dtype, 1);
  const Reference expected = reference(ctx, o);

  const double forward = loss_of(ctx, o.args());
  const double loss = backward(ctx, o.args(), o.dx, o.dtable);

  const double tolerance = rounding(dtype, s.C) * (1 + expected.loss);
  EXPECT_NEAR(loss, expected.loss, tolerance);
  EXPECT_NEAR(forward, loss, rounding(dtype, 1) * (1 + expected.loss));
  EXPECT_TRUE(close(ctx, o.dx, expected.dx, rounding(dtype, s.vocab * s.C)));
  EXPECT_TRUE(
      close(ctx, o.dtable, expected.dtable, rounding(dtype, s.rows * s.C)));
}

TEST_P(CrossEntropyLoss, ShowsTheLogitsOfEveryRowOnce) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Operands o(ctx, s, dtype, 2);
  CrossEntropy args = o.args();
  std::vector<double> seen;
  int64_t rows = 0;
  args.sink = [&](int64_t row, const Tensor& logits) {
    EXPECT_EQ(row, rows);
    rows += logits.dim(0);
    EXPECT_LE(logits.dim(0),
              cross_entropy_tile_rows(logits.dim(1), ctx.device()));
    const std::vector<double> values = to_f64(ctx, logits);
    seen.insert(seen.end(), values.begin(), values.end());
  };

  backward(ctx, args, o.dx, o.dtable);

  EXPECT_EQ(rows, s.rows);
  EXPECT_TRUE(close(seen, reference(ctx, o).logits, rounding(dtype, s.C)));
}

TEST_P(CrossEntropyLoss, IsTheSumOfTokenLosses) {
  const auto& [dtype, s] = GetParam();
  TestContext ctx;
  Operands o(ctx, s, dtype, 3);
  const std::vector<int64_t> targets = to_i64(ctx, o.targets);
  CrossEntropy args = o.args();
  double sum = 0;
  args.sink = [&](int64_t row, const Tensor& logits) {
    Tensor losses = nans(ctx, {logits.dim(0)}, DType::kF64);
    token_losses(ctx, logits, o.targets.slice(row, row + logits.dim(0)),
                 losses);
    for (const double loss : to_f64(ctx, losses)) {
      if (targets[row++] == kIgnoredTarget) {
        EXPECT_EQ(loss, 0);
      }
      sum += loss;
    }
  };
  const double loss = loss_of(ctx, args);
  EXPECT_NEAR(loss, 0.25 * sum, rounding(DType::kF64, s.rows) * loss);
}

INSTANTIATE_TEST_SUITE_P(Sizes, CrossEntropyLoss,
                         Combine(Values(DType::kF32, DType::kF64),
                                 Values(Sizes{1, 1, 1}, Sizes{7, 5, 17},
                                        Sizes{17, 3, 64}, Sizes{0, 3, 4},
                                        Sizes{150, 4, 9}, Sizes{5, 3, 1030})));

TEST(CrossEntropyGradient, AgreesWithFiniteDifferences) {
  TestContext ctx;
  Operands o(ctx, {7, 5, 9}, DType::kF64, 3);
  backward(ctx, o.args(), o.dx, o.dtable);
  const auto objective = [&] { return loss_of(ctx, o.args()); };
  EXPECT_TRUE(gradients_agree(
      ctx, objective, {{"x", o.x, o.dx}, {"table", o.table, o.dtable}}));
}

// Sequences side by side, over several tiles, with rows of padding between.
TEST(CrossEntropyMembers, HaveLossesAndScalesOfTheirOwn) {
  const ChunkRows rows{.members = 3, .tokens = 90, .stride = 96};
  TestContext ctx;
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    Operands all(ctx, {rows.count(), 4, 9}, dtype, 9);
    const std::vector<double> scales = {0.25, 2, 0.5};
    all.rows = rows;
    all.scales = from_f64(ctx, scales, {3}, DType::kF64);
    std::vector<int64_t> targets = to_i64(ctx, all.targets);
    for (std::size_t r = 0; r < targets.size(); ++r) {
      if (r % rows.stride >= 90) targets[r] = kIgnoredTarget;
    }
    all.targets = from_ids(ctx, targets);
    Tensor losses = nans(ctx, {3}, DType::kF64);
    cross_entropy_forward_backward(ctx, all.args(), losses, all.dx, all.dtable);
    std::vector<double> dtable(9 * 4, 0), alone_losses;
    for (int64_t m = 0; m < 3; ++m) {
      const auto own = [&](const Tensor& t) {
        return t.slice(m * rows.stride, m * rows.stride + 90);
      };
      Operands one = all;
      one.rows = rows_of_one(90);
      one.x = own(all.x), one.targets = own(all.targets);
      one.scales = all.scales.slice(m, m + 1);
      one.dx = nans(ctx, one.x.shape(), dtype);
      one.dtable = nans(ctx, all.table.shape(), dtype);
      alone_losses.push_back(backward(ctx, one.args(), one.dx, one.dtable));
      EXPECT_TRUE(close(ctx, own(all.dx), one.dx, rounding(dtype, 9 * 4)));
      const std::vector<double> more = to_f64(ctx, one.dtable);
      for (std::size_t i = 0; i < dtable.size(); ++i) dtable[i] += more[i];
    }
    EXPECT_TRUE(close(to_f64(ctx, losses), alone_losses, rounding(dtype, 90)));
    EXPECT_TRUE(close(ctx, all.dtable, dtable, rounding(dtype, 270 * 4)));
    EXPECT_TRUE(
        close(ctx, all.dx.slice(90, 96), std::vector<double>(24, 0), 0));
  }
}

TEST(CrossEntropyMask, MaskedRowsContributeExactlyZero) {
  TestContext ctx;
  Operands o(ctx, {8, 5, 9}, DType::kF32, 4);
  Operands masked = o;
  masked.x = clone(ctx, o.x);
  fill(ctx, 1e3, masked.x.slice(2, 3));
  masked.dtable = clone(ctx, o.dtable);
  const double loss = backward(ctx, o.args(), o.dx, o.dtable);
  EXPECT_TRUE(close(ctx, o.dx.slice(2, 3), std::vector<double>(5, 0), 0));

  EXPECT_EQ(backward(ctx, masked.args(), masked.dx, masked.dtable), loss);
  EXPECT_TRUE(close(ctx, masked.dtable, o.dtable, 0));

  masked.targets = from_ids(ctx, std::vector<int64_t>(8, kIgnoredTarget));
  EXPECT_EQ(backward(ctx, masked.args(), masked.dx, masked.dtable), 0);
  EXPECT_TRUE(close(ctx, masked.dtable, std::vector<double>(45, 0), 0));
}

TEST(CrossEntropyRange, LargeLogitsGiveFiniteLosses) {
  TestContext ctx;
  const Tensor x = from_f64(ctx, {1e4, -1e4}, {2, 1}, DType::kF32);
  const Tensor table = from_f64(ctx, {1, 0, -1}, {3, 1}, DType::kF32);
  const Tensor targets = from_ids(ctx, {2, 0});
  Tensor dx = nans(ctx, {2, 1}, DType::kF32),
         dtable = nans(ctx, {3, 1}, dx.dtype());
  const ChunkRows rows = rows_of_one(2);
  const Tensor scales = from_f64(ctx, {1}, {1}, DType::kF64);
  EXPECT_EQ(backward(ctx, {rows, x, table, targets, scales}, dx, dtable), 4e4);
  EXPECT_TRUE(close(ctx, dx, {2, -2}, rounding(DType::kF32, 3)));
}

TEST(CrossEntropyRange, NotANumberShows) {
  TestContext ctx;
  Operands o(ctx, {4, 3, 9}, DType::kF32, 5);
  fill(ctx, std::nan(""), o.x.reshape({12}).slice(0, 1));
  EXPECT_TRUE(std::isnan(loss_of(ctx, o.args())));
}

TEST(CrossEntropyTiles, KeepTheLogitsSmall) {
  EXPECT_EQ(cross_entropy_tile_rows(256), 128);
  EXPECT_EQ(cross_entropy_tile_rows(32000), 128);
  EXPECT_EQ(cross_entropy_tile_rows(128256), 32);
  EXPECT_EQ(cross_entropy_tile_rows(1 << 24), 8);
  constexpr Device kCuda{Device::Kind::kCuda};
  EXPECT_EQ(cross_entropy_tile_rows(32000, kCuda), 520);
  EXPECT_EQ(cross_entropy_tile_rows(1 << 24, kCuda), 8);
  TestContext ctx;
  constexpr int64_t kRows = 300, kVocab = 50;
  const int64_t tile =
      std::min(kRows, cross_entropy_tile_rows(kVocab, ctx.device()));
  Operands o(ctx, {kRows, 2, kVocab}, DType::kF32, 6);
  Tensor loss = nans(ctx, {1}, DType::kF64);
  ctx.pool().reset_peaks();
  const int64_t before = ctx.pool().peak_bytes(MemoryUse::kScratch);
  cross_entropy_forward_backward(ctx, o.args(), loss, o.dx, o.dtable);
  EXPECT_LE(ctx.pool().peak_bytes(MemoryUse::kScratch) - before,
            tile * kVocab * 4 + kRows * 8 + 128);
}

TEST(CrossEntropyThreads, DoNotChangeBits) {
  TestContext ctx;
  const Operands start(ctx, {150, 33, 300}, DType::kF32, 7);
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor dx = clone(ctx, start.dx), dtable = clone(ctx, start.dtable);
    const double loss = backward(ctx, start.args(), dx, dtable);
    return std::vector<Tensor>{dx, dtable, filled(ctx, loss, {1}, DType::kF64)};
  }));
}

TEST(CrossEntropyArguments, AreChecked) {
  TestContext ctx;
  Operands o(ctx, {3, 2, 5}, DType::kF32, 8);
  o.targets = from_ids(ctx, {0, 1});
  EXPECT_THAT([&] { loss_of(ctx, o.args()); }, refuses("targets: shape [2]"));
  o = Operands(ctx, {3, 2, 5}, DType::kF32, 8);
  EXPECT_THAT([&] { backward(ctx, o.args(), o.dx, o.dx); },
              refuses("dtable: shape [3,2], expected [5,2]"));
  Tensor loss = nans(ctx, {2}, DType::kF64);
  EXPECT_THAT([&] { cross_entropy_forward(ctx, o.args(), loss); },
              refuses("losses: shape [2], expected [1]"));
  o.rows.members = 2;
  EXPECT_THAT([&] { loss_of(ctx, o.args()); },
              refuses("x: shape [3,2], expected [6,2]"));
  o.rows = {2, 5, 3};
  EXPECT_THAT([&] { loss_of(ctx, o.args()); },
              refuses("rows.stride: 3, expected 5 or more"));
  o.rows = rows_of_one(3);
  o.table = filled(ctx, 1, {5, 3}, DType::kF32);
  EXPECT_THAT([&] { loss_of(ctx, o.args()); }, refuses("table: shape [5,3]"));
}

}  // namespace
}  // namespace timepipe
