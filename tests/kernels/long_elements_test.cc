// Transfers, and kernels of single elements, over more than 2^31 of them.

#include <cmath>
#include <limits>

#include "kernels/adamw.h"
#include "kernels/finite.h"
#include "kernels/gradient_sum.h"
#include "kernels/parameter_blocks.h"
#include "kernels/pointwise.h"
#include "kernels/step_verdict.h"
#include "tests/kernels/long_tensors.h"

namespace timepipe {
namespace {

using namespace testing;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

class LongElements : public LongTest {
 protected:
  Operand random() { return LongTest::random(places, {places.few()}); }
  Operand output() { return LongTest::output(places, {places.few()}); }
  Tensor normal() { return testing::normal(ctx, rng, {places.few()}, kF32); }

  static constexpr DType kF32 = DType::kF32;
  const Windows places{64, 1};
};

TEST_F(LongElements, UploadAndDownload) {
  HostArray host({places.size()}, kF32);
  const std::span<float> there = host.values<float>();
  const auto put = [&](auto&& value) {
    places.for_each([&](int64_t place, int64_t few_place, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        there[place + i] = value(few_place + i);
    });
  };
  Operand y = output();
  put([](int64_t i) { return static_cast<float>(i); });
  upload(ctx, host, y.all);
  y.few = generate(ctx, {places.few()}, kF32, [](int64_t i) { return i; });
  EXPECT_TRUE(windows_agree(places, y));

  put([](int64_t) { return kNaN; });
  download(ctx, y.all, there);
  places.for_each([&](int64_t place, int64_t few_place, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(there[place + i], static_cast<float>(few_place + i));
    }
  });
}

TEST_F(LongElements, CopyAndClear) {
  const Operand x = random();
  Operand y = output();
  copy(ctx, x.all, y.all);
  y.few = x.few;
  EXPECT_TRUE(windows_agree(places, y));

  clear(ctx, y.all);
  clear(ctx, y.few);
  EXPECT_TRUE(windows_agree(places, y));
}

TEST_F(LongElements, Add) {
  const Operand x = random();
  Operand y = in_place(places, normal());

  for (const auto part : kBoth) add(ctx, x.*part, y.*part);

  EXPECT_TRUE(windows_agree(places, y));
}

TEST_F(LongElements, SwigluForward) {
  const Operand a = random(), b = random();
  Operand y = output();

  for (const auto part : kBoth) swiglu_forward(ctx, a.*part, b.*part, y.*part);

  EXPECT_TRUE(windows_agree(places, y));
}

// Both gradients lie in the same memory, here and below: there is room for one.
TEST_F(LongElements, SwigluBackward) {
  const Operand dy = random(), a = random(), b = random();
  Operand d = output();

  for (const auto part : kBoth) {
    swiglu_backward(ctx, dy.*part, a.*part, b.*part, d.*part, d.*part);
  }

  EXPECT_TRUE(windows_agree(places, d));
}

TEST_F(LongElements, GeluGateForward) {
  const Operand x = random(), g = random();
  Operand y = output();

  for (const auto part : kBoth) {
    gelu_gate_forward(ctx, x.*part, g.*part, y.*part);
  }

  EXPECT_TRUE(windows_agree(places, y));
}

TEST_F(LongElements, GeluGateBackward) {
  const Operand dy = random(), x = random(), g = random();
  Operand d = output();

  for (const auto part : kBoth) {
    gelu_gate_backward(ctx, dy.*part, x.*part, g.*part, d.*part, d.*part);
  }

  EXPECT_TRUE(windows_agree(places, d));
}

// Moments and parameters are the same memory.
TEST_F(LongElements, AdamW) {
  const timepipe::AdamW hyper{.lr = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.99,
                              .eps = 1e-8,
                              .weight_decay = 0.1,
                              .step = 3};
  const Tensor verdict =
      from_f64(ctx, {1, 1, 0.5, 1}, {kVerdictSize}, DType::kF64);
  const Operand gradient = random();
  Operand p = in_place(places, generate(ctx, {places.few()}, kF32,
                                        [&](int64_t) { return uniform(rng); }));

  for (const auto part : kBoth) {
    adamw(ctx, hyper, verdict, gradient.*part, p.*part, p.*part, p.*part);
  }

  EXPECT_TRUE(windows_agree(places, p));
}

TEST_F(LongElements, AllFinite) {
  const Operand x = random();
  EXPECT_TRUE(all_finite(ctx, x.all));
  fill(ctx, kNaN, x.all.slice(places.size() - 1, places.size()));
  EXPECT_FALSE(all_finite(ctx, x.all));
}

// Beyond the windows the gradient is refused, so that no sum is written there:
// all sums would take 17 GB.
TEST_F(LongElements, GradientSumAdd) {
  constexpr int64_t kAtOnce = 1 << 24;
  Operand gradient = output();
  const Tensor refusal = filled(ctx, kNaN, {kAtOnce}, kF32);
  for (int64_t i = 0; i < places.size(); i += kAtOnce) {
    const int64_t end = std::min(i + kAtOnce, places.size());
    copy(ctx, refusal.slice(0, end - i), gradient.all.slice(i, end));
  }
  gradient.few = normal();
  scatter(ctx, places, 1, gradient.few, gradient.all);
  const Tensor few_words = ctx.zeros({1, places.few()}, DType::kI64);
  Operand words{few_words, input(places, few_words.reshape({places.few()}))
                               .all.reshape({1, places.size()})};
  Operand refused{ctx.zeros({1}, DType::kI64), ctx.zeros({1}, DType::kI64)};

  for (const auto part : kBoth) {
    gradient_sum_add(ctx, gradient.*part, 1e3, 0, words.*part, refused.*part);
  }

  EXPECT_TRUE(windows_agree(places, words));
  EXPECT_EQ(to_i64(ctx, refused.all)[0], places.size() - places.few());
}

// In two words, the second of each behind all the first.
TEST_F(LongElements, GradientSumAddBehindOthers) {
  const int64_t n = places.size() / 2;
  const Tensor gradient = testing::normal(ctx, rng, {64}, DType::kF64);
  const Tensor all = input(places, ctx.zeros({places.few()}, DType::kI64)).all;
  Tensor words = all.reshape({2, n}), few = ctx.zeros({2, 64}, DType::kI64);
  Tensor refused = ctx.zeros({1}, DType::kI64);

  gradient_sum_add(ctx, gradient, 1e3, n - 64, words, refused);
  gradient_sum_add(ctx, gradient, 1e3, 0, few, refused);

  EXPECT_TRUE(
      same_bits(ctx, all.slice(n - 64, n), few.slice(0, 1).reshape({64})));
  EXPECT_TRUE(same_bits(ctx, all.slice(2 * n - 64, 2 * n),
                        few.slice(1, 2).reshape({64})));
  EXPECT_EQ(to_i64(ctx, refused)[0], 0);
}

TEST_F(LongElements, GradientSumValues) {
  std::vector<int64_t> numbers(places.few());
  for (int64_t& number : numbers) number = static_cast<int64_t>(rng());
  const Operand words = input(places, from_ids(ctx, numbers));
  Operand values = output();

  for (const auto part : kBoth) {
    gradient_sum_values(ctx, (words.*part).reshape({1, (words.*part).numel()}),
                        0, values.*part);
  }

  EXPECT_TRUE(windows_agree(places, values));
}

// Of whole blocks, and of the numbers that lie in them.
TEST_F(LongElements, ParameterBlocks) {
  constexpr int64_t kBlock = ParameterBlock::kElements;
  const Windows blocks(1, kBlock);
  const Operand flat = LongTest::random(blocks, {blocks.few(), kBlock});
  Operand sums{nans(ctx, {blocks.few()}, DType::kF64),
               nans(ctx, {blocks.size()}, DType::kF64)};
  Operand hashes{ctx.zeros({blocks.few()}, DType::kI64),
                 ctx.zeros({blocks.size()}, DType::kI64)};

  for (const auto part : kBoth) {
    ParameterLayout layout;
    layout.add("w", (flat.*part).shape());
    const Tensor numbers = (flat.*part).reshape({layout.numel()});
    block_square_sums(ctx, layout, 0, layout.num_blocks(), numbers, sums.*part);
    block_hashes(ctx, layout, 0, layout.num_blocks(), numbers, hashes.*part);
  }

  EXPECT_TRUE(windows_agree(blocks, sums));
  EXPECT_TRUE(windows_agree(blocks, hashes));
}

// The losses are the squares.
TEST_F(LongElements, StepVerdict) {
  const Operand numbers =
      input(places, generate(ctx, {places.few()}, DType::kF64, [&](int64_t) {
              return static_cast<double>(rng() % 9);
            }));
  const Operand refused = input(places, ctx.zeros({places.few()}, DType::kI64));
  Operand verdict = sums({kVerdictSize}, DType::kF64);

  for (const auto part : kBoth) {
    step_verdict(ctx, numbers.*part, numbers.*part, refused.*part, 1,
                 verdict.*part);
  }

  EXPECT_TRUE(agree(verdict));
  EXPECT_GT(to_f64(ctx, verdict.all)[0], 0);
  EXPECT_EQ(to_f64(ctx, verdict.all)[3], 1);

  copy(ctx, from_ids(ctx, {1}),
       refused.all.slice(places.size() - 1, places.size()));
  step_verdict(ctx, numbers.few, numbers.few, refused.all, 1, verdict.all);
  EXPECT_EQ(to_f64(ctx, verdict.all)[3], 0);
}

}  // namespace
}  // namespace timepipe
