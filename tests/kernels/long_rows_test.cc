// Kernels that go through rows, over more than 2^31 elements.

#include "kernels/causal_conv.h"
#include "kernels/embedding.h"
#include "kernels/inner_rate.h"
#include "kernels/layernorm.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "tests/kernels/long_tensors.h"

namespace timepipe {
namespace {

using namespace testing;

using LongRows = LongTest;

TEST_F(LongRows, RmsNormForward) {
  constexpr int64_t C = 64;
  const Windows rows(16, C);
  const Operand x = random(rows, {rows.few(), C}), w = given({C});
  Operand y = output(rows, {rows.few(), C}), rstd = unset(rows, {rows.few()});

  for (const auto part : kBoth) {
    rmsnorm_forward(ctx, x.*part, w.*part, 1e-5, y.*part, rstd.*part);
  }

  EXPECT_TRUE(windows_agree(rows, y));
  EXPECT_TRUE(windows_agree(rows, rstd));
}

TEST_F(LongRows, RmsNormBackward) {
  constexpr int64_t C = 64;
  const Windows rows(16, C);
  const Operand dy = random(rows, {rows.few(), C}),
                x = random(rows, {rows.few(), C}), w = given({C}),
                rstd = random(rows, {rows.few()});
  Operand dx = output(rows, {rows.few(), C}), dw = sums({C});

  for (const auto part : kBoth) {
    rmsnorm_backward(ctx, dy.*part, x.*part, w.*part, rstd.*part, dx.*part,
                     Write::kOverwrite, dw.*part, Write::kOverwrite);
  }

  EXPECT_TRUE(windows_agree(rows, dx));
  EXPECT_TRUE(agree(dw));
}

TEST_F(LongRows, LayerNormForward) {
  constexpr int64_t C = 64;
  const Windows rows(16, C);
  const Operand x = random(rows, {rows.few(), C}), w = given({C}),
                b = given({C});
  Operand y = output(rows, {rows.few(), C}), mean = unset(rows, {rows.few()}),
          rstd = unset(rows, {rows.few()});

  for (const auto part : kBoth) {
    layernorm_forward(ctx, x.*part, w.*part, b.*part, 1e-5, y.*part, mean.*part,
                      rstd.*part);
  }

  EXPECT_TRUE(windows_agree(rows, y));
  EXPECT_TRUE(windows_agree(rows, mean));
  EXPECT_TRUE(windows_agree(rows, rstd));
}

TEST_F(LongRows, LayerNormBackward) {
  constexpr int64_t C = 64;
  const Windows rows(16, C);
  const Operand dy = random(rows, {rows.few(), C}),
                x = random(rows, {rows.few(), C}), w = given({C}),
                mean = random(rows, {rows.few()}),
                rstd = random(rows, {rows.few()});
  Operand dx = output(rows, {rows.few(), C}), dw = sums({C}), db = sums({C});

  for (const auto part : kBoth) {
    layernorm_backward(ctx, dy.*part, x.*part, w.*part, mean.*part, rstd.*part,
                       dx.*part, dw.*part, db.*part);
  }

  EXPECT_TRUE(windows_agree(rows, dx));
  EXPECT_TRUE(agree(dw));
  EXPECT_TRUE(agree(db));
}

TEST_F(LongRows, Rope) {
  constexpr int64_t kHeads = 2, C = 64, kMiniBatch = 16;
  const Windows rows(kMiniBatch, C);
  Operand x = in_place(rows, normal(ctx, rng, {rows.few(), C}, DType::kF32));

  for (const auto part : kBoth) {
    rope(ctx, Rotation::kForward, kHeads, kMiniBatch, 1e4, x.*part);
  }

  EXPECT_TRUE(windows_agree(rows, x));
}

// The windows are the documents of the short run, and in the long one far
// apart: rows of zeros before a row count as none do. The last document lies
// beyond 2^31, after padding.
class LongConvolution : public LongTest {
 protected:
  static constexpr int64_t C = 64, kWidth = 4, kRows = 16, kPadding = 8;

  Segments segments_of(Tensor Operand::*part) const {
    return part == &Operand::few ? Segments(few) : Segments(all);
  }

  const Windows rows{kRows, C};
  const Segment first{0, kRows, kWidth - 1, false};
  const std::vector<Segment> few = {first,
                                    {kRows, 2 * kRows, 0, true},
                                    {3 * kRows + kPadding, kPadding, 0, true}};
  const std::vector<Segment> all = {
      {0, rows.last(), kWidth - 1, false},
      {rows.last() + kPadding, kPadding, 0, true}};
};

TEST_F(LongConvolution, Forward) {
  const Operand x = random(rows, {rows.few(), C}),
                halo = given({kWidth - 1, C}), w = given({C, 1, kWidth}),
                bias = given({C});
  Operand y = output(rows, {rows.few(), C});

  for (const auto part : kBoth) {
    causal_conv_forward(ctx, x.*part, halo.*part, w.*part, bias.*part,
                        segments_of(part), y.*part);
  }

  EXPECT_TRUE(windows_agree(rows, y));
}

TEST_F(LongConvolution, Backward) {
  const Operand dy = random(rows, {rows.few(), C}),
                x = random(rows, {rows.few(), C}),
                halo = given({kWidth - 1, C}), w = given({C, 1, kWidth});
  Operand dx = output(rows, {rows.few(), C}), dhalo = sums({kWidth - 1, C}),
          dw = sums({C, 1, kWidth}), dbias = sums({C});

  for (const auto part : kBoth) {
    causal_conv_backward(ctx, dy.*part, x.*part, halo.*part, w.*part,
                         segments_of(part), dx.*part, dhalo.*part,
                         Write::kOverwrite, dw.*part, dbias.*part);
  }

  EXPECT_TRUE(windows_agree(rows, dx));
  EXPECT_TRUE(agree(dhalo));
  EXPECT_TRUE(agree(dw));
  EXPECT_TRUE(agree(dbias));
}

// The gates [T,H] are shorter than u at any width of a model.
TEST_F(LongRows, InnerRateForward) {
  constexpr int64_t C = 512, H = 2;
  const Windows rows(16, C);
  const Operand u = random(rows, {rows.few(), C}), w = given({H, 1, C}),
                bias = given({H, 1});
  Operand gate = unset(rows, {rows.few(), H}),
          lr = unset(rows, {rows.few(), H});

  for (const auto part : kBoth) {
    inner_rate_forward(ctx, u.*part, w.*part, bias.*part, 0.5, gate.*part,
                       lr.*part);
  }

  EXPECT_TRUE(windows_agree(rows, gate));
  EXPECT_TRUE(windows_agree(rows, lr));
}

TEST_F(LongRows, InnerRateBackward) {
  constexpr int64_t C = 512, H = 2;
  const Windows rows(16, C);
  const Operand dlr = random(rows, {rows.few(), H}),
                u = random(rows, {rows.few(), C}), w = given({H, 1, C}),
                gate = random(rows, {rows.few(), H});
  Operand du = in_place(rows, normal(ctx, rng, {rows.few(), C}, DType::kF32)),
          dw = sums({H, 1, C}), dbias = sums({H, 1});

  for (const auto part : kBoth) {
    inner_rate_backward(ctx, dlr.*part, u.*part, w.*part, gate.*part, 0.5,
                        du.*part, dw.*part, dbias.*part);
  }

  EXPECT_TRUE(windows_agree(rows, du));
  EXPECT_TRUE(agree(dw));
  EXPECT_TRUE(agree(dbias));
}

class LongEmbedding : public LongTest {
 protected:
  static constexpr int64_t C = 256;

  Operand ids(std::vector<int64_t> few, std::vector<int64_t> all) {
    return {from_ids(ctx, few), from_ids(ctx, all)};
  }
  // Each row of the windows twice.
  Operand ids_of_windows() {
    std::vector<int64_t> few, all;
    rows.for_each([&](int64_t row, int64_t few_row, int64_t count) {
      for (int64_t i = 0; i < 2 * count; ++i) {
        few.push_back(few_row + i % count);
        all.push_back(row + i % count);
      }
    });
    return ids(few, all);
  }

  const Windows rows{16, C};
};

TEST_F(LongEmbedding, ReadsALongTable) {
  const Operand ids = ids_of_windows(), table = random(rows, {rows.few(), C});
  Operand x = sums({ids.few.dim(0), C});

  for (const auto part : kBoth) {
    embedding_forward(ctx, ids.*part, table.*part, x.*part);
  }

  EXPECT_TRUE(agree(x));
}

TEST_F(LongEmbedding, AddsToALongTable) {
  const Operand ids = ids_of_windows(), dx = given({ids.few.dim(0), C});
  Operand dtable = output(rows, {rows.few(), C});

  for (const auto part : kBoth) {
    embedding_backward(ctx, ids.*part, dx.*part, dtable.*part,
                       Write::kOverwrite);
  }

  EXPECT_TRUE(windows_agree(rows, dtable));
}

TEST_F(LongEmbedding, WritesManyRows) {
  constexpr int64_t kVocab = 7;
  std::vector<int64_t> few(rows.few()), all(rows.size(), 0);
  rows.for_each([&](int64_t row, int64_t few_row, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      few[few_row + i] = all[row + i] = (few_row + i) % kVocab;
    }
  });
  const Operand ids = this->ids(few, all), table = given({kVocab, C});
  Operand x = output(rows, {rows.few(), C});

  for (const auto part : kBoth) {
    embedding_forward(ctx, ids.*part, table.*part, x.*part);
  }

  EXPECT_TRUE(windows_agree(rows, x));

  const Operand dx = random(rows, {rows.few(), C});
  Operand dtable = sums({kVocab, C});

  for (const auto part : kBoth) {
    embedding_backward(ctx, ids.*part, dx.*part, dtable.*part,
                       Write::kOverwrite);
  }

  EXPECT_TRUE(agree(dtable));
}

TEST_F(LongRows, PushRows) {
  constexpr int64_t C = 64;
  const Windows rows(16, C);
  const Operand x = random(rows, {rows.few(), C});
  Operand halo = sums({3, C});

  for (const auto part : kBoth) {
    push_rows(ctx, x.*part, rows_of_one((x.*part).dim(0)), halo.*part);
  }

  EXPECT_TRUE(agree(halo));
}

TEST_F(LongRows, TakeElements) {
  const Windows places(16, 1);
  const Operand from = random(places, {places.few()});
  std::vector<int64_t> index;
  places.for_each([&](int64_t place, int64_t, int64_t count) {
    for (int64_t i = 0; i < count; ++i) index.push_back(place + i);
  });
  Tensor to = nans(ctx, {places.few()}, DType::kF32);

  take_elements(ctx, from.all, from_ids(ctx, index), to);

  EXPECT_TRUE(same_bits(ctx, to, from.few));
}

}  // namespace
}  // namespace timepipe
