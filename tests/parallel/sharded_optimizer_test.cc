#include "parallel/sharded_optimizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "runtime/rng.h"
#include "tests/support/tensors.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int64_t kAddends = 7, kSteps = 3;

struct NamedShape {
  const char* name;
  Shape shape;
  bool is_norm_or_bias;
};

// Ten blocks; sizes that need padding and, between, some that don't.
const std::vector<NamedShape>& sample_shapes() {
  static const std::vector<NamedShape> shapes = {
      {"embed_tokens.weight", {50, 331}, false},  // two blocks
      {"layers.0.seq_norm.weight", {17}, true},
      {"layers.0.W1", {2, 16, 16}, false},
      {"layers.0.b1", {2, 1, 16}, true},
      {"layers.0.b2", {2, 1, 16}, true},
      {"layers.0.ttt_norm_weight", {3}, true},
      {"layers.0.ttt_norm_bias", {3}, true},
      {"layers.0.learnable_ttt_lr_bias", {3, 1}, true},
      {"layers.0.conv.bias", {5}, true},
      {"lm_head.weight", {64, 31}, false}};
  return shapes;
}

ParameterLayout sample_layout() {
  ParameterLayout layout;
  for (const NamedShape& p : sample_shapes()) layout.add(p.name, p.shape);
  return layout;
}

ParameterStore sample_weights(Context& ctx, DType dtype) {
  ParameterStore weights(ctx, sample_layout(), dtype);
  for (const Parameter& p : weights.layout().parameters()) {
    Tensor value = weights.value(p.name);
    fill_normal(Rng(1, p.name), 0.3, value);
  }
  return weights;
}

// Gradient of one (sequence, chunk) pair. Norms of the sums: about 0.4, 4, 4.
Tensor sample_gradient(Context& ctx, const Parameter& p, int64_t step,
                       int64_t addend, DType dtype) {
  Tensor g = ctx.allocate(p.shape, dtype);
  fill_uniform(Rng(2 + step * kAddends + addend, p.name),
               step == 0 ? 0.002 : 0.02, g);
  return g;
}

// Adds the addends a of a step for which a % ranks is `rank`.
void add_gradients(Context& ctx, const ParameterLayout& layout, int64_t step,
                   int rank, int ranks, DType dtype, GradientSum& sum) {
  sum.start(kAddends);
  for (int64_t a = rank; a < kAddends; a += ranks) {
    for (int64_t i = 0; i < std::ssize(layout.parameters()); ++i) {
      sum.add(i, sample_gradient(ctx, layout.parameters()[i], step, a, dtype));
    }
  }
}

// What training ends with; norms and digests of all steps.
struct Result {
  std::vector<double> weights, gradient, m, v, norms;
  std::vector<uint64_t> digests;

  bool operator==(const Result&) const = default;
};

const double kRates[kSteps] = {0.1, 0.05, 0.02};

Result train_rank(Communicator& world, DType dtype,
                  const OptimizerOptions& options) {
  Context ctx;
  ParameterStore weights = sample_weights(ctx, dtype);
  GradientSum sum(ctx, weights.layout(), dtype);
  ShardedOptimizer optimizer(ctx, world, weights, options);
  Result result;
  for (int64_t step = 0; step < kSteps; ++step) {
    add_gradients(ctx, weights.layout(), step, world.rank(), world.size(),
                  dtype, sum);
    const auto gradient = optimizer.reduce(sum);
    EXPECT_TRUE(gradient.finite);
    optimizer.step(kRates[step]);
    result.norms.push_back(gradient.norm);
    result.digests.push_back(optimizer.digest());
  }
  result.weights = testing::to_f64(weights.flat());
  result.gradient = testing::to_f64(optimizer.gather_gradient());
  result.m = testing::to_f64(optimizer.gather_first_moment());
  result.v = testing::to_f64(optimizer.gather_second_moment());
  return result;
}

// The result of rank 0; those of the others must be equal.
Result train(int ranks, int num_threads, DType dtype,
             const OptimizerOptions& options) {
  std::vector<Result> results(ranks);
  run_thread_ranks(ranks, [&](Communicator& world) {
    const testing::Threads threads(num_threads);
    results[world.rank()] = train_rank(world, dtype, options);
  });
  for (const Result& result : results) EXPECT_EQ(result, results[0]);
  return results[0];
}

// The same in the plainest loops, in double, from the same addends.
Result train_plainly(DType dtype, const OptimizerOptions& o) {
  Context ctx;
  const ParameterStore weights = sample_weights(ctx, dtype);
  const ParameterLayout& layout = weights.layout();
  Result r;
  r.weights = testing::to_f64(weights.flat());
  r.m = r.v = std::vector<double>(layout.numel());
  for (int64_t step = 0; step < kSteps; ++step) {
    r.gradient = std::vector<double>(layout.numel());
    for (const Parameter& p : layout.parameters()) {
      for (int64_t a = 0; a < kAddends; ++a) {
        const std::vector<double> g =
            testing::to_f64(sample_gradient(ctx, p, step, a, dtype));
        for (int64_t i = 0; i < p.count; ++i) r.gradient[p.offset + i] += g[i];
      }
    }
    const double norm = testing::norm(r.gradient);
    r.norms.push_back(norm);
    const double clip =
        o.clip_norm > 0 && norm >= o.clip_norm ? o.clip_norm / norm : 1;
    for (std::size_t i = 0; i < layout.parameters().size(); ++i) {
      const Parameter& p = layout.parameters()[i];
      const bool decays =
          o.decay_norms_and_biases || !sample_shapes()[i].is_norm_or_bias;
      for (int64_t j = p.offset; j < p.offset + p.count; ++j) {
        const double g = clip * r.gradient[j];
        r.m[j] = o.beta1 * r.m[j] + (1 - o.beta1) * g;
        r.v[j] = o.beta2 * r.v[j] + (1 - o.beta2) * g * g;
        const double mean = r.m[j] / (1 - std::pow(o.beta1, step + 1));
        const double square = r.v[j] / (1 - std::pow(o.beta2, step + 1));
        r.weights[j] -=
            kRates[step] * (mean / (std::sqrt(square) + o.eps) +
                            (decays ? o.weight_decay : 0) * r.weights[j]);
      }
    }
  }
  return r;
}

class ShardedOptimizerOf : public ::testing::TestWithParam<DType> {};

INSTANTIATE_TEST_SUITE_P(Types, ShardedOptimizerOf,
                         ::testing::Values(DType::kF32, DType::kF64),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(ShardedOptimizerOf, AgreesWithPlainAdamW) {
  const DType dtype = GetParam();
  const double tolerance = testing::rounding(dtype, kSteps * kAddends);
  for (const OptimizerOptions& options :
       {OptimizerOptions{.clip_norm = 1},
        OptimizerOptions{.clip_norm = 0, .decay_norms_and_biases = false}}) {
    const Result plain = train_plainly(dtype, options);
    EXPECT_LT(plain.norms[0], 1);  // not clipped, unlike the other steps
    EXPECT_GT(plain.norms[1], 1);
    const Result actual = train(2, 1, dtype, options);
    EXPECT_TRUE(testing::close_l2(actual.gradient, plain.gradient, tolerance));
    EXPECT_TRUE(testing::close(actual.norms, plain.norms, tolerance));
    EXPECT_TRUE(testing::close_l2(actual.m, plain.m, tolerance));
    EXPECT_TRUE(testing::close_l2(actual.v, plain.v, tolerance));
    EXPECT_TRUE(testing::close_l2(actual.weights, plain.weights, tolerance));
  }
}

// Thirteen ranks are more than there are blocks: some shards are empty.
TEST_P(ShardedOptimizerOf, GivesTheSameBitsForAnyNumberOfRanks) {
  const Result expected = train(1, 1, GetParam(), {});
  ASSERT_LT(sample_layout().num_blocks(), 13);
  for (const int ranks : {2, 3, 4, 7, 13}) {
    EXPECT_EQ(train(ranks, 1, GetParam(), {}), expected) << ranks << " ranks";
  }
}

TEST_P(ShardedOptimizerOf, GivesTheSameBitsForAnyNumberOfThreads) {
  const Result expected = train(1, 1, GetParam(), {});
  for (const int threads : {2, 3}) {
    EXPECT_EQ(train(2, threads, GetParam(), {}), expected)
        << threads << " threads";
  }
}

TEST_P(ShardedOptimizerOf, SkipsDecayOfNormsAndBiasesIfAsked) {
  const DType dtype = GetParam();
  const Result result = [&] {
    Result r;
    run_thread_ranks(2, [&](Communicator& world) {
      Context ctx;
      ParameterStore weights = sample_weights(ctx, dtype);
      ShardedOptimizer optimizer(
          ctx, world, weights,
          {.weight_decay = 0.5, .decay_norms_and_biases = false});
      GradientSum sum(ctx, weights.layout(), dtype);
      sum.start(1);
      EXPECT_EQ(optimizer.reduce(sum).norm, 0);
      optimizer.step(/*lr=*/1);
      if (world.rank() == 0) r.weights = testing::to_f64(weights.flat());
    });
    return r;
  }();
  Context ctx;
  const ParameterStore before = sample_weights(ctx, dtype);
  const std::vector<double> old = testing::to_f64(before.flat());
  for (std::size_t i = 0; i < sample_shapes().size(); ++i) {
    const Parameter& p = before.layout().parameters()[i];
    const double factor = sample_shapes()[i].is_norm_or_bias ? 1 : 0.5;
    for (int64_t j = p.offset; j < p.offset + p.count; ++j) {
      ASSERT_EQ(result.weights[j], factor * old[j]) << p.name;
    }
  }
}

TEST_P(ShardedOptimizerOf, DigestIsThatOfAllBlocks) {
  run_thread_ranks(3, [&](Communicator& world) {
    Context ctx;
    ParameterStore weights = sample_weights(ctx, GetParam());
    ShardedOptimizer optimizer(ctx, world, weights, {});
    const ParameterLayout& layout = weights.layout();
    EXPECT_EQ(optimizer.digest(),
              combine_hashes(block_hashes(layout, weights.flat(), 0,
                                          layout.num_blocks())));
  });
}

TEST(ShardedOptimizer, RefusedAddendOfOneRankMarksTheStepOnAll) {
  run_thread_ranks(3, [](Communicator& world) {
    Context ctx;
    ParameterStore weights = sample_weights(ctx, DType::kF32);
    const std::vector<double> before = testing::to_f64(weights.flat());
    GradientSum sum(ctx, weights.layout(), DType::kF32);
    ShardedOptimizer optimizer(ctx, world, weights, {});
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(), 4096.}) {
      sum.start(kAddends);
      const double x = world.rank() == 1 ? bad : 1e-3;
      sum.add(1, testing::filled(ctx, x, {17}, DType::kF32));
      EXPECT_FALSE(optimizer.reduce(sum).finite);
      EXPECT_THAT([&] { optimizer.step(0.1); },
                  ThrowsMessage<InvalidArgument>(HasSubstr("update 0")));
    }
    EXPECT_EQ(testing::to_f64(weights.flat()), before);

    sum.start(kAddends);  // the next step is not affected
    EXPECT_TRUE(optimizer.reduce(sum).finite);
    EXPECT_NO_THROW(optimizer.step(0.1));
  });
}

// AdamW's bias correction is that of the moments, whatever went between.
TEST(ShardedOptimizer, CountsItsUpdates) {
  const auto first_update_after = [](int refused, int64_t updates) {
    Context ctx;
    ParameterLayout layout;
    layout.add("w", {1});
    ParameterStore weights(ctx, layout, DType::kF64);
    GradientSum sum(ctx, weights.layout(), DType::kF64);
    const auto world = make_self_communicator();
    ShardedOptimizer optimizer(
        ctx, *world, weights,
        {.beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0, .clip_norm = 0});
    optimizer.set_updates(updates);
    for (int i = 0; i < refused; ++i) {
      sum.start(1);
      sum.add(0, testing::filled(ctx, 1e300, {1}, DType::kF64));
      EXPECT_FALSE(optimizer.reduce(sum).finite);
    }
    sum.start(1);
    sum.add(0, testing::filled(ctx, 1, {1}, DType::kF64));
    EXPECT_TRUE(optimizer.reduce(sum).finite);
    optimizer.step(1);
    EXPECT_EQ(optimizer.updates(), updates + 1);
    return weights.flat().data<double>()[0];
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
    Context ctx;
    ParameterLayout layout;
    layout.add("w", {2});
    ParameterStore weights(ctx, layout, DType::kF64);
    GradientSum sum(ctx, weights.layout(), DType::kF64);
    const auto world = make_self_communicator();
    ShardedOptimizer optimizer(ctx, *world, weights,
                               {.beta1 = 0, .clip_norm = clip_norm});
    sum.start(1);
    sum.add(0, testing::from_f64(ctx, {3, -4}, {2}, DType::kF64));
    EXPECT_EQ(optimizer.reduce(sum).norm, 5);
    optimizer.step(0.1);
    const auto before_clipping = testing::to_f64(optimizer.gather_gradient());
    EXPECT_EQ(before_clipping[0], 3);
    return testing::to_f64(optimizer.gather_first_moment())[1];
  };
  EXPECT_EQ(clipped_gradient(0), -4);
  EXPECT_EQ(clipped_gradient(5.5), -4);
  EXPECT_EQ(clipped_gradient(5), -4);
  EXPECT_EQ(clipped_gradient(2.5), -2);
}

// More elements than AdamW takes at once.
TEST(ShardedOptimizer, UpdatesEveryElementOfLargeParameters) {
  Context ctx;
  ParameterLayout layout;
  const int64_t n = 65 * ParameterBlock::kElements + 3;
  layout.add("w", {n});
  ParameterStore weights(ctx, layout, DType::kF32);
  GradientSum sum(ctx, weights.layout(), DType::kF32);
  const auto world = make_self_communicator();
  ShardedOptimizer optimizer(ctx, *world, weights, {});
  sum.start(1);
  sum.add(0, testing::filled(ctx, 1, {n}, DType::kF32));
  EXPECT_NEAR(optimizer.reduce(sum).norm, std::sqrt(n), 1e-9);
  optimizer.step(0.5);
  const float* w = weights.flat().data<float>();
  EXPECT_NEAR(w[0], -0.5, 1e-4);
  EXPECT_EQ(std::count(w, w + n, w[0]), n);
  const int64_t padding = weights.flat().numel() - n;
  EXPECT_EQ(std::count(w + n, w + n + padding, 0.f), padding);
}

TEST(ShardedOptimizer, RefusesASumOfOtherWeights) {
  Context ctx;
  ParameterStore weights = sample_weights(ctx, DType::kF32);
  const auto world = make_self_communicator();
  ShardedOptimizer optimizer(ctx, *world, weights, {});
  const GradientSum f64(ctx, weights.layout(), DType::kF64);
  EXPECT_THAT(
      [&] { optimizer.reduce(f64); },
      ThrowsMessage<InvalidArgument>(HasSubstr("than the weights, f32")));
  ParameterLayout other;
  other.add("w", {16});
  const GradientSum small(ctx, other, DType::kF32);
  EXPECT_THAT([&] { optimizer.reduce(small); },
              ThrowsMessage<InvalidArgument>(HasSubstr("16 elements")));
  EXPECT_THROW(optimizer.step(0.1), InvalidArgument);  // before reduce()
}

}  // namespace
}  // namespace timepipe
