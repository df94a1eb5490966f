#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "parallel/schedule.h"
#include "parallel/virtual_clock.h"
#include "tests/parallel/schedule_shapes.h"

// What a step takes by the virtual clock, against closed forms.

namespace timepipe {
namespace {

using ::testing::Combine;
using ::testing::Values;

Timeline run(const ScheduleShape& shape) {
  return run_virtual_clock(shape, make_schedule(shape));
}

// k chunks per rank, L layers, each one task: a hop costs a layer's price, so P
// ranks lose P - 1 of it forward and 2 (P - 1) backward; work is k L forward
// and, with recomputation, 4 k L in all.
using Base = std::tuple<int, int64_t>;
class BaseCase : public ::testing::TestWithParam<Base> {};

TEST_P(BaseCase, HasTheEfficiencyOfTheClosedForm) {
  const auto [ranks, k] = GetParam();
  const int64_t L = 24, P = ranks;
  const Timeline forward = run(whole_layers(ranks, L, k * P, 0, false));
  EXPECT_EQ(forward.makespan, k * L + P - 1);
  EXPECT_DOUBLE_EQ(forward.efficiency(), 1.0 * k * L / (k * L + P - 1));

  const Timeline step = run(whole_layers(ranks, L, k * P, 0));
  EXPECT_EQ(step.makespan, 4 * k * L + 3 * (P - 1));
  EXPECT_DOUBLE_EQ(step.efficiency(), 4.0 * k * L / (4 * k * L + 3 * (P - 1)));
  for (const int64_t peak : step.peak_slabs) EXPECT_EQ(peak, 1);
}

INSTANTIATE_TEST_SUITE_P(ScheduleTime, BaseCase,
                         Combine(Values(8, 16), Values(1, 4, 16)));

TEST(ScheduleTime, HasTheEfficienciesThatWerePredicted) {
  const auto efficiency = [](int P, int64_t k) {
    return run(whole_layers(P, 24, k * P, 0)).efficiency();
  };
  EXPECT_NEAR(efficiency(8, 1), 0.821, 5e-4);
  EXPECT_NEAR(efficiency(8, 4), 0.948, 5e-4);
  EXPECT_NEAR(efficiency(8, 16), 0.987, 5e-4);
  EXPECT_NEAR(efficiency(16, 1), 0.681, 5e-4);
  EXPECT_NEAR(efficiency(16, 4), 0.895, 5e-4);
  EXPECT_NEAR(efficiency(16, 16), 0.972, 5e-4);
}

// A step of equal layers, in thousandths of a layer's forward of one chunk.
struct Prices {
  int64_t conv, project, scan, output;
  int64_t scan_backward;  // other parts: twice the forward
  int64_t message;

  int64_t backward() const {
    return 2 * (conv + project + output) + scan_backward;
  }
};

ScheduleShape split_layers(int P, int64_t k, int64_t hot_rounds,
                           const Prices& p) {
  ScheduleShape shape = whole_layers(P, 24, P * k, hot_rounds);
  for (LayerShape& layer : shape.layers) {
    layer.forward = {0, p.conv, p.project, p.scan, p.output, 0};
    layer.backward = {
        0, 2 * p.conv, 2 * p.project, p.scan_backward, 2 * p.output, 0};
  }
  shape.message_price = p.message;
  return shape;
}

// The time of a step of k chunks per rank, h hot rounds, no LM head: P - 1 hops
// in each direction, and per chunk its work or, if they take longer, P hops.
// `skipped`: what a cold chunk leaves out of its last layer going forward.
int64_t closed_form(int64_t P, int64_t k, int64_t h, const Prices& p,
                    int64_t skipped) {
  const int64_t L = 24, F = 1000 * L, B = p.backward() * L;
  const int64_t hop = p.scan + p.message,
                hop_back = p.scan_backward + p.message;
  int64_t t = (P - 1) * (hop + hop_back) + F + B;
  if (h == 0) t += F - skipped;
  for (int64_t j = 0; j < k - 1; ++j) {
    t += std::max(F - (j < k - h ? skipped : 0), P * hop);
    t += std::max(B + (j + 1 >= h ? F : 0), P * hop_back);
  }
  return t;
}

// Where no rank stalls in mid-micro-batch (P hops fit into a chunk's forward),
// the step takes exactly that time: a cold chunk skips the last layer's
// kOutput. A planner that doesn't know how a layer's work is split, and takes
// all but the scan as skipped, is within 3 %.
using Split = std::tuple<int, int64_t, int64_t, double, double, int64_t>;
class SplitLayers : public ::testing::TestWithParam<Split> {};

TEST_P(SplitLayers, TakeTheTimeOfTheClosedForm) {
  const auto [P, k, hot_rounds, s, rho, message] = GetParam();
  const auto scan = static_cast<int64_t>(1000 * s);
  const Prices p = {.conv = (1000 - scan) / 10,
                    .project = (1000 - scan) * 4 / 10,
                    .scan = scan,
                    .output = (1000 - scan) / 2,
                    .scan_backward = static_cast<int64_t>(1000 * s * rho),
                    .message = message};
  ASSERT_EQ(p.conv + p.project + p.scan + p.output, 1000);
  const Timeline step = run(split_layers(P, k, hot_rounds, p));
  const int64_t h = std::min(hot_rounds, k);
  EXPECT_EQ(step.makespan, closed_form(P, k, h, p, p.output));
  const auto planned =
      static_cast<double>(closed_form(P, k, h, p, 1000 - p.scan));
  EXPECT_NEAR(static_cast<double>(step.makespan), planned, 0.03 * planned);
  for (const int64_t peak : step.peak_slabs) {
    EXPECT_EQ(peak, std::max<int64_t>(h, 1));
  }
}

INSTANTIATE_TEST_SUITE_P(ScheduleTime, SplitLayers,
                         Combine(Values(4, 8, 16), Values(2, 8),
                                 Values(0, 1, 2, 1000), Values(0.1, 0.5),
                                 Values(2.0, 3.0), Values(0, 50)));

// Past that wall hops decide.
TEST(ScheduleTime, StallsForTheTimeOfTheClosedForm) {
  for (const int64_t scan : {300, 500, 800}) {
    const int64_t rest = (1000 - scan) / 2;
    const Prices p = {.conv = 0,
                      .project = rest,
                      .scan = scan,
                      .output = rest,
                      .scan_backward = 3 * scan,
                      .message = 10};
    for (const int64_t k : {1, 2, 4}) {
      EXPECT_EQ(run(split_layers(64, k, 1, p)).makespan,
                closed_form(64, k, 1, p, p.output));
    }
  }
}

// The next micro-batch comes forward while one goes back.
TEST(ScheduleTime, OfManyMicroBatchesFillsTheirBubbles) {
  ScheduleShape shape = whole_layers(8, 24, 8, 2);
  EXPECT_LT(run(shape).efficiency(), 0.78);
  shape.micro_batches.assign(40, document(8));
  EXPECT_GT(run(shape).efficiency(), 0.99);
}

// A rank that knew nothing of the latency would begin other work just before a
// message that others depend on.
TEST(ScheduleTime, MindsTheLatencyOfMessages) {
  Prices p = {.conv = 250,
              .project = 250,
              .scan = 250,
              .output = 250,
              .scan_backward = 500,
              .message = 500};
  ScheduleShape shape = split_layers(8, 1, 4, p);
  shape.micro_batches.assign(6, document(8));
  p.message = 0;
  ScheduleShape instant = split_layers(8, 1, 4, p);
  instant.micro_batches = shape.micro_batches;
  EXPECT_LT(run(shape).makespan,
            run_virtual_clock(shape, make_schedule(instant)).makespan);
}

}  // namespace
}  // namespace timepipe
