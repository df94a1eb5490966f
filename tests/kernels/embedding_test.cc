#include "kernels/embedding.h"

#include "tests/kernels/kernel_test.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using namespace timepipe::testing;

constexpr int64_t kVocab = 11, kC = 130;
const std::vector<int64_t> kIds = {3, 0, 10, 3, 7, 3, 0};

class Embedding : public ::testing::TestWithParam<DType> {};

TEST_P(Embedding, ForwardCopiesRows) {
  TestContext ctx;
  const Tensor ids = from_ids(ctx, kIds);
  const Tensor table = normal(ctx, 1, {kVocab, kC}, GetParam());
  Tensor x = nans(ctx, {ids.dim(0), kC}, GetParam());

  embedding_forward(ctx, ids, table, x);

  for (int64_t t = 0; t < ids.dim(0); ++t) {
    EXPECT_TRUE(
        same_bits(ctx, x.slice(t, t + 1), table.slice(kIds[t], kIds[t] + 1)));
  }
}

TEST_P(Embedding, BackwardSumsTheRowsOfEachId) {
  TestContext ctx;
  const Tensor ids = from_ids(ctx, kIds);
  const Tensor dx = normal(ctx, 2, {ids.dim(0), kC}, GetParam());
  const std::vector<double> dx_values = to_f64(ctx, dx);
  std::vector<double> expected(kVocab * kC, 0);
  for (int64_t t = 0; t < ids.dim(0); ++t) {
    for (int64_t c = 0; c < kC; ++c) {
      expected[kIds[t] * kC + c] += dx_values[t * kC + c];
    }
  }
  Tensor dtable = nans(ctx, {kVocab, kC}, GetParam());

  embedding_backward(ctx, ids, dx, dtable, Write::kOverwrite);
  EXPECT_TRUE(close(ctx, dtable, expected, rounding(GetParam(), 3)));

  embedding_backward(ctx, ids, dx, dtable, Write::kAdd);
  for (double& v : expected) v *= 2;
  EXPECT_TRUE(close(ctx, dtable, expected, rounding(GetParam(), 6)));
}

TEST_P(Embedding, AddingPieceByPieceGivesTheSameBits) {
  TestContext ctx;
  const Tensor ids = from_ids(ctx, kIds);
  const Tensor dx = normal(ctx, 3, {ids.dim(0), kC}, GetParam());
  Tensor whole = nans(ctx, {kVocab, kC}, GetParam());
  Tensor pieces = nans(ctx, {kVocab, kC}, GetParam());

  embedding_backward(ctx, ids, dx, whole, Write::kOverwrite);
  embedding_backward(ctx, ids.slice(0, 4), dx.slice(0, 4), pieces,
                     Write::kOverwrite);
  embedding_backward(ctx, ids.slice(4, 7), dx.slice(4, 7), pieces, Write::kAdd);

  EXPECT_TRUE(same_bits(ctx, pieces, whole));
}

// Of one id there are many rows: more than any part of the work takes at once.
TEST_P(Embedding, BackwardAddsInTheOrderOfTheRows) {
  constexpr int64_t kRows = 1100, kWidth = 3;
  TestContext ctx;
  Generator rng(4);
  std::vector<int64_t> labels(kRows, 5);
  for (std::size_t t = 0; t < labels.size(); t += 2) {
    labels[t] = static_cast<int64_t>(rng() % kVocab);
  }
  const Tensor dx = normal(ctx, rng, {kRows, kWidth}, GetParam());
  const std::vector<double> dx_values = to_f64(ctx, dx);
  std::vector<double> expected(kVocab * kWidth, 0);
  for (int64_t i = 0; i < kRows * kWidth; ++i) {
    double& sum = expected[labels[i / kWidth] * kWidth + i % kWidth];
    sum += dx_values[i];
    if (GetParam() == DType::kF32) sum = static_cast<float>(sum);
  }
  Tensor dtable = nans(ctx, {kVocab, kWidth}, GetParam());
  embedding_backward(ctx, from_ids(ctx, labels), dx, dtable, Write::kOverwrite);
  EXPECT_TRUE(close(ctx, dtable, expected, 0));
}

TEST_P(Embedding, ThreadsDoNotChangeBits) {
  TestContext ctx;
  const Tensor ids = from_ids(ctx, kIds);
  const Tensor table = normal(ctx, 1, {kVocab, kC}, GetParam());
  const Tensor dx = normal(ctx, 2, {ids.dim(0), kC}, GetParam());
  EXPECT_TRUE(same_bits_for_any_threads(ctx, [&] {
    Tensor x = nans(ctx, dx.shape(), GetParam());
    Tensor dtable = nans(ctx, table.shape(), GetParam());
    embedding_forward(ctx, ids, table, x);
    embedding_backward(ctx, ids, dx, dtable, Write::kOverwrite);
    return std::vector<Tensor>{x, dtable};
  }));
}

INSTANTIATE_TEST_SUITE_P(Types, Embedding,
                         ::testing::Values(DType::kF32, DType::kF64));

TEST(EmbeddingArguments, AreChecked) {
  TestContext ctx;
  const Tensor table = filled(ctx, 1, {5, 2}, DType::kF32);
  Tensor x = nans(ctx, {3, 2}, DType::kF32);
  EXPECT_THAT([&] { embedding_forward(ctx, from_ids(ctx, {1}), table, x); },
              refuses("x: shape [3,2], expected [1,2]"));
  EXPECT_THAT([&] { embedding_forward(ctx, x, table, x); },
              refuses("ids: dtype f32"));
}

}  // namespace
}  // namespace timepipe
