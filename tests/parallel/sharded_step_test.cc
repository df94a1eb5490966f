// Single steps of the sharded optimizer.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/parameter_blocks.h"
#include "parallel/sharded_optimizer.h"
#include "tests/parallel/sample_parameters.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::sample_shapes;
using testing::sample_weights;
using testing::TestContext;
using testing::throws;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// A step's loss of one part.
Tensor loss_of(Context& ctx, double loss) {
  return testing::filled(ctx, loss, {1}, DType::kF64);
}

ShardedOptimizer::Report reduce(Context& ctx, ShardedOptimizer& optimizer,
                                GradientSum& sum, double loss = 1) {
  optimizer.reduce(sum, loss_of(ctx, loss));
  return optimizer.report();
}

class ShardedStep : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(Types, ShardedStep,
                         ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(ShardedStep, SkipsDecayOfNormsAndBiasesIfAsked) {
  const DType dtype = GetParam();
  std::vector<double> result;
  run_thread_ranks(2, [&](Communicator& world) {
    TestContext ctx;
    ParameterStore weights = sample_weights(ctx, dtype);
    const auto exchange = make_exchange(ctx, world);
    ShardedOptimizer optimizer(
        ctx, *exchange, weights,
        {.weight_decay = 0.5, .decay_norms_and_biases = false});
    GradientSum sum(ctx, weights.layout(), dtype);
    sum.start(ctx, 1);
    EXPECT_EQ(reduce(ctx, optimizer, sum).grad_norm, 0);
    optimizer.step(/*lr=*/1);
    if (world.rank() == 0) result = testing::to_f64(ctx, weights.flat());
  });
  TestContext ctx;
  const ParameterStore before = sample_weights(ctx, dtype);
  const std::vector<double> old = testing::to_f64(ctx, before.flat());
  for (std::size_t i = 0; i < sample_shapes().size(); ++i) {
    const Parameter& p = before.layout().parameters()[i];
    const double factor = sample_shapes()[i].is_norm_or_bias ? 1 : 0.5;
    for (int64_t j = p.offset; j < p.offset + p.count; ++j) {
      ASSERT_EQ(result[j], factor * old[j]) << p.name;
    }
  }
}

TEST_P(ShardedStep, DigestIsThatOfAllBlocks) {
  run_thread_ranks(3, [&](Communicator& world) {
    TestContext ctx;
    ParameterStore weights = sample_weights(ctx, GetParam());
    const auto exchange = make_exchange(ctx, world);
    ShardedOptimizer optimizer(ctx, *exchange, weights, {});
    const ParameterLayout& layout = weights.layout();
    Tensor hashes = ctx.allocate({layout.num_blocks()}, DType::kI64);
    block_hashes(ctx, layout, 0, layout.num_blocks(), weights.flat(), hashes);
    std::vector<uint64_t> bits;
    for (const int64_t hash : testing::to_i64(ctx, hashes)) {
      bits.push_back(static_cast<uint64_t>(hash));
    }
    EXPECT_EQ(optimizer.digest(), combine_hashes(bits));
  });
}

// One that a rank refused, or a loss.
TEST(ShardedOptimizer, WhatIsNotFiniteMarksTheStepOnAllAndChangesNothing) {
  run_thread_ranks(3, [](Communicator& world) {
    TestContext ctx;
    ParameterStore weights = sample_weights(ctx, DType::kF32);
    const Tensor before = testing::clone(ctx, weights.flat());
    GradientSum sum(ctx, weights.layout(), DType::kF32);
    const auto exchange = make_exchange(ctx, world);
    ShardedOptimizer optimizer(ctx, *exchange, weights, {});
    const uint64_t digest = optimizer.digest();
    const auto step = [&](double addend, double loss) {
      sum.start(ctx, 3);
      const double x = world.rank() == 1 ? addend : 1e-3;
      sum.add(ctx, 1, testing::filled(ctx, x, {17}, DType::kF32));
      optimizer.reduce(sum, loss_of(ctx, loss));
      optimizer.step(0.1);
      return optimizer.report();
    };
    for (const auto& [addend, loss] :
         {std::pair{kNan, 1.}, {kInfinity, 1.}, {4096., 1.}, {1., kNan}}) {
      const ShardedOptimizer::Report report = step(addend, loss);
      EXPECT_FALSE(report.finite);
      EXPECT_EQ(report.digest, digest);
      EXPECT_EQ(optimizer.updates(), 0);
    }
    EXPECT_TRUE(testing::same_bits(ctx, weights.flat(), before));
    for (const Tensor* moment :
         {&optimizer.first_moment(), &optimizer.second_moment()}) {
      EXPECT_THAT(testing::to_f64(ctx, *moment), ::testing::Each(0));
    }

    EXPECT_TRUE(step(1, 1).finite);  // the next step is not affected
    EXPECT_NE(optimizer.digest(), digest);
    EXPECT_EQ(optimizer.updates(), 1);
  });
}

// An optimizer of one rank, and all that it needs.
struct Lone {
  TestContext ctx;
  std::unique_ptr<Communicator> world = make_self_communicator();
  std::unique_ptr<Exchange> exchange = make_exchange(ctx, *world);
  ParameterStore weights;
  GradientSum sum;
  ShardedOptimizer optimizer;

  Lone(ParameterLayout layout, DType dtype, const OptimizerOptions& options)
      : weights(ctx, std::move(layout), dtype),
        sum(ctx, weights.layout(), dtype),
        optimizer(ctx, *exchange, weights, options) {}
};

ParameterLayout vector_of(int64_t elements) {
  ParameterLayout layout;
  layout.add("w", {elements});
  return layout;
}

// AdamW's bias correction is that of the moments, whatever went between.
TEST(ShardedOptimizer, CountsItsUpdates) {
  const auto first_update_after = [](int refused, int64_t updates) {
    Lone lone(vector_of(1), DType::kF64,
              {.beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0, .clip_norm = 0});
    auto& [ctx, world, exchange, weights, sum, optimizer] = lone;
    optimizer.set_updates(updates);
    for (int i = 0; i < refused; ++i) {
      sum.start(ctx, 1);
      sum.add(ctx, 0, testing::filled(ctx, 1e300, {1}, DType::kF64));
      optimizer.reduce(sum, loss_of(ctx, 1));
      optimizer.step(1);
      EXPECT_FALSE(optimizer.report().finite);
    }
    sum.start(ctx, 1);
    sum.add(ctx, 0, testing::filled(ctx, 1, {1}, DType::kF64));
    optimizer.reduce(sum, loss_of(ctx, 1));
    optimizer.step(1);
    EXPECT_TRUE(optimizer.report().finite);
    EXPECT_EQ(optimizer.updates(), updates + 1);
    return testing::to_f64(ctx, weights.flat())[0];
  };
  // m = 0.5 and v = 0.25, divided by as much; at the third update by more.
  EXPECT_NEAR(first_update_after(0, 0), -1, 1e-7);
  EXPECT_NEAR(first_update_after(3, 0), -1, 1e-7);
  const double v = 0.25 / (1 - 0.75 * 0.75 * 0.75);
  EXPECT_NEAR(first_update_after(0, 2), -0.5 / 0.875 / std::sqrt(v), 1e-7);
}

TEST(ShardedOptimizer, ClipsFromTheNormAskedOn) {
  // The first moment after one step shows the gradient that AdamW saw.
  const auto clipped_gradient = [](double clip_norm) {
    Lone lone(vector_of(2), DType::kF64, {.beta1 = 0, .clip_norm = clip_norm});
    auto& [ctx, world, exchange, weights, sum, optimizer] = lone;
    sum.start(ctx, 1);
    sum.add(ctx, 0, testing::from_f64(ctx, {3, -4}, {2}, DType::kF64));
    EXPECT_EQ(reduce(ctx, optimizer, sum).grad_norm, 5);
    optimizer.step(0.1);
    const auto before_clipping =
        testing::to_f64(ctx, optimizer.gather_gradient());
    EXPECT_EQ(before_clipping[0], 3);
    return testing::to_f64(ctx, optimizer.gather_first_moment())[1];
  };
  EXPECT_EQ(clipped_gradient(0), -4);
  EXPECT_EQ(clipped_gradient(5.5), -4);
  EXPECT_EQ(clipped_gradient(5), -4);
  EXPECT_EQ(clipped_gradient(2.5), -2);
}

// More elements than a thread of AdamW takes at once.
TEST(ShardedOptimizer, UpdatesEveryElementOfLargeParameters) {
  const int64_t n = 65 * ParameterBlock::kElements + 3;
  Lone lone(vector_of(n), DType::kF32, {});
  auto& [ctx, world, exchange, weights, sum, optimizer] = lone;
  sum.start(ctx, 1);
  sum.add(ctx, 0, testing::filled(ctx, 1, {n}, DType::kF32));
  EXPECT_NEAR(reduce(ctx, optimizer, sum).grad_norm, std::sqrt(n), 1e-9);
  optimizer.step(0.5);
  const std::vector<double> w = testing::to_f64(ctx, weights.flat());
  EXPECT_NEAR(w[0], -0.5, 1e-4);
  EXPECT_EQ(std::count(w.begin(), w.begin() + n, w[0]), n);
  EXPECT_EQ(std::count(w.begin() + n, w.end(), 0.), std::ssize(w) - n);
}

TEST(ShardedOptimizer, RefusesASumOfOtherWeights) {
  TestContext ctx;
  ParameterStore weights = sample_weights(ctx, DType::kF32);
  const auto world = make_self_communicator();
  const auto exchange = make_exchange(ctx, *world);
  ShardedOptimizer optimizer(ctx, *exchange, weights, {});
  GradientSum f64(ctx, weights.layout(), DType::kF64);
  EXPECT_THAT([&] { optimizer.reduce(f64, loss_of(ctx, 1)); },
              throws<InvalidArgument>(HasSubstr("than the weights, f32")));
  ParameterLayout other;
  other.add("w", {16});
  GradientSum small(ctx, other, DType::kF32);
  EXPECT_THAT([&] { optimizer.reduce(small, loss_of(ctx, 1)); },
              throws<InvalidArgument>(HasSubstr("16 elements")));
}

TEST(ShardedOptimizer, StepsOnlyAfterReduce) {
  TestContext ctx;
  ParameterStore weights = sample_weights(ctx, DType::kF32);
  const auto world = make_self_communicator();
  const auto exchange = make_exchange(ctx, *world);
  ShardedOptimizer optimizer(ctx, *exchange, weights, {});
  const uint64_t digest = optimizer.digest();
  optimizer.step(0.1);
  const ShardedOptimizer::Report report = optimizer.report();
  EXPECT_FALSE(report.finite);
  EXPECT_EQ(report.digest, digest);
  EXPECT_EQ(optimizer.updates(), 0);
}

// The report of a step that was judged but not made.
TEST(ShardedOptimizer, CountsNoUpdateWithoutAStep) {
  Lone lone(testing::sample_layout(), DType::kF32, {});
  auto& [ctx, world, exchange, weights, sum, optimizer] = lone;
  sum.start(ctx, 1);
  EXPECT_TRUE(reduce(ctx, optimizer, sum, 2.5).finite);
  EXPECT_EQ(optimizer.report().loss, 2.5);
  EXPECT_EQ(optimizer.updates(), 0);
}

}  // namespace
}  // namespace timepipe
