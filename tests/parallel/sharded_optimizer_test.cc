#include "parallel/sharded_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/rng.h"
#include "runtime/transfer.h"
#include "tests/parallel/sample_parameters.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/threads.h"

namespace timepipe {
namespace {

using testing::sample_layout;
using testing::sample_shapes;
using testing::sample_weights;
using testing::TestContext;

constexpr int64_t kAddends = 7, kSteps = 3;

// Gradient of one (sequence, chunk) pair. Norms of the sums: about 0.4, 4, 4.
Tensor sample_gradient(Context& ctx, const Parameter& p, int64_t step,
                       int64_t addend, DType dtype) {
  HostArray g(p.shape, dtype);
  fill_uniform(Rng(2 + step * kAddends + addend, p.name),
               step == 0 ? 0.002 : 0.02, g);
  return upload(ctx, g);
}

// Adds the addends a of a step for which a % ranks is `rank`.
void add_gradients(Context& ctx, const ParameterLayout& layout, int64_t step,
                   int rank, int ranks, DType dtype, GradientSum& sum) {
  sum.start(ctx, kAddends);
  for (int64_t a = rank; a < kAddends; a += ranks) {
    for (int64_t i = 0; i < std::ssize(layout.parameters()); ++i) {
      sum.add(ctx, i,
              sample_gradient(ctx, layout.parameters()[i], step, a, dtype));
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
  TestContext ctx;
  ParameterStore weights = sample_weights(ctx, dtype);
  GradientSum sum(ctx, weights.layout(), dtype);
  const auto exchange = make_exchange(ctx, world);
  ShardedOptimizer optimizer(ctx, *exchange, weights, options);
  Result result;
  for (int64_t step = 0; step < kSteps; ++step) {
    add_gradients(ctx, weights.layout(), step, world.rank(), world.size(),
                  dtype, sum);
    optimizer.reduce(sum,
                     testing::from_f64(ctx, {0x1p53, 1, 1}, {3}, DType::kF64));
    optimizer.step(kRates[step]);
    const ShardedOptimizer::Report report = optimizer.report();
    EXPECT_TRUE(report.finite);
    EXPECT_EQ(report.loss, 0x1p53);  // in their order
    EXPECT_EQ(report.digest, optimizer.digest());
    EXPECT_EQ(optimizer.updates(), step + 1);
    result.norms.push_back(report.grad_norm);
    result.digests.push_back(report.digest);
  }
  result.weights = testing::to_f64(ctx, weights.flat());
  result.gradient = testing::to_f64(ctx, optimizer.gather_gradient());
  result.m = testing::to_f64(ctx, optimizer.gather_first_moment());
  result.v = testing::to_f64(ctx, optimizer.gather_second_moment());
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
  TestContext ctx;
  const ParameterStore weights = sample_weights(ctx, dtype);
  const ParameterLayout& layout = weights.layout();
  Result r;
  r.weights = testing::to_f64(ctx, weights.flat());
  r.m = r.v = std::vector<double>(layout.numel());
  for (int64_t step = 0; step < kSteps; ++step) {
    r.gradient = std::vector<double>(layout.numel());
    for (const Parameter& p : layout.parameters()) {
      for (int64_t a = 0; a < kAddends; ++a) {
        const std::vector<double> g =
            testing::to_f64(ctx, sample_gradient(ctx, p, step, a, dtype));
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

}  // namespace
}  // namespace timepipe
