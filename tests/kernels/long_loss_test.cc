// The loss of more than 2^31 elements: of many rows, and of many tokens.

#include <cmath>

#include "kernels/cross_entropy.h"
#include "tests/kernels/long_tensors.h"

namespace timepipe {
namespace {

using namespace testing;

class LongLoss : public LongTest {
 protected:
  // Targets in [0, vocab) for the rows in windows; the others have none.
  Operand targets(const Windows& rows, int64_t vocab) {
    std::vector<int64_t> few(rows.few()), all(rows.size(), kIgnoredTarget);
    rows.for_each([&](int64_t row, int64_t few_row, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        few[few_row + i] = all[row + i] = (few_row + i) % vocab;
      }
    });
    return {from_ids(ctx, few), from_ids(ctx, all)};
  }
};

// Windows are whole tiles of rows: both runs multiply the same matrices.
TEST_F(LongLoss, CrossEntropyOfManyRows) {
  constexpr int64_t C = 1 << 15, kVocab = 2;
  const Windows rows(cross_entropy_tile_rows(kVocab), C);
  const Operand x = random(rows, {rows.few(), C}), table = given({kVocab, C}),
                targets = this->targets(rows, kVocab);
  Operand dx = output(rows, {rows.few(), C}), dtable = sums({kVocab, C}),
          loss = sums({1}, DType::kF64);
  const Tensor scales = from_f64(ctx, {0.1}, {1}, DType::kF64);

  for (const auto part : kBoth) {
    const ChunkRows chunk = rows_of_one((x.*part).dim(0));
    const CrossEntropy args{.rows = chunk,
                            .x = x.*part,
                            .table = table.*part,
                            .targets = targets.*part,
                            .scales = scales};
    cross_entropy_forward_backward(ctx, args, loss.*part, dx.*part,
                                   dtable.*part);
  }

  EXPECT_TRUE(windows_agree(rows, dx));
  EXPECT_TRUE(agree(dtable));
  EXPECT_TRUE(agree(loss));
}

// One row has a label, the last token. Its logits are -1000 for every other
// token of the windows, whose share is 0 then, and 0 for all other tokens: the
// results are known exactly.
TEST_F(LongLoss, CrossEntropyOfManyTokens) {
  constexpr int64_t C = 8, kRows = 8;
  constexpr double kLogit = -1000;
  const Windows tokens(16, C);
  const auto is_unlikely = [](int64_t few_token) { return few_token % 2 == 1; };
  // Column 0 makes the logits; of the others x has some, the table the rest.
  const auto x_value = [](int64_t c) { return c == 0 ? 1. : c > 4 ? c : 0.; };
  const auto table_value = [&](int64_t few_token, int64_t c) {
    if (!is_unlikely(few_token)) return 0.;
    return c == 0 ? kLogit : c > 4 ? 0. : static_cast<double>(few_token + c);
  };
  const Tensor x = generate(ctx, {kRows, C}, DType::kF32, [&](int64_t i) {
    return i / C == kRows - 1 ? x_value(i % C) : 1.;
  });
  const Operand table = input(
      tokens, generate(ctx, {tokens.few(), C}, DType::kF32,
                       [&](int64_t i) { return table_value(i / C, i % C); }));
  std::vector<int64_t> targets(kRows, kIgnoredTarget);
  targets.back() = tokens.size() - 1;
  Operand dtable = output(tokens, {tokens.few(), C});
  Tensor dx = nans(ctx, {kRows, C}, DType::kF32),
         loss = nans(ctx, {1}, DType::kF64);

  cross_entropy_forward_backward(
      ctx,
      {.rows = rows_of_one(kRows),
       .x = x,
       .table = table.all,
       .targets = from_ids(ctx, targets),
       .scales = from_f64(ctx, {1}, {1}, DType::kF64)},
      loss, dx, dtable.all);

  const int64_t unlikely = tokens.few() / 2;
  const auto likely = static_cast<double>(tokens.size() - unlikely);
  EXPECT_DOUBLE_EQ(to_number(ctx, loss), std::log(likely) - kLogit);
  std::vector<double> expected_dx(kRows * C);
  for (int64_t c = 0; c < C; ++c) {
    expected_dx[(kRows - 1) * C + c] = -table_value(tokens.few() - 1, c);
  }
  EXPECT_TRUE(close(ctx, dx, expected_dx, 0));
  const auto share = static_cast<float>(1 / likely);
  dtable.few = generate(ctx, {tokens.few(), C}, DType::kF32, [&](int64_t i) {
    const int64_t token = i / C;
    const double dlogit = token == tokens.few() - 1 ? -1.
                          : is_unlikely(token)      ? 0.
                                                    : share;
    return dlogit * x_value(i % C);
  });
  EXPECT_TRUE(close(ctx, gather(ctx, tokens, 1, dtable.all, dtable.few.shape()),
                    dtable.few, 0));
}

TEST_F(LongLoss, TokenLosses) {
  constexpr int64_t kVocab = 1024;
  const Windows rows(16, kVocab);
  const Operand logits = random(rows, {rows.few(), kVocab}),
                targets = this->targets(rows, kVocab);
  Operand losses = input(rows, nans(ctx, {rows.few()}, DType::kF64));

  for (const auto part : kBoth) {
    token_losses(ctx, logits.*part, targets.*part, losses.*part);
  }

  EXPECT_TRUE(windows_agree(rows, losses));
}

}  // namespace
}  // namespace timepipe
