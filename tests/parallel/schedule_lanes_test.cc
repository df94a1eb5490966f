#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "parallel/schedule.h"
#include "parallel/virtual_clock.h"
#include "tests/parallel/schedule_shapes.h"

// Messages of the lists of any shape: their order on lanes, where receives
// stand, and that nothing gets stuck whatever lanes are like.

namespace timepipe {
namespace {

using Kind = Operation::Kind;

constexpr int kShapes = 10'000;
constexpr int kDelays = kLanes + 2;  // kinds of them

using LaneName = std::tuple<int, int, Lane>;  // from, to
LaneName lane_name(int rank, const Operation& op) {
  return op.kind == Kind::kSend ? LaneName(rank, op.peer, lane_of(op))
                                : LaneName(op.peer, rank, lane_of(op));
}

// On each lane numbers count, and receives are those of the sends, in their
// order. Apart from the clock, which says so too.
void expect_order_of_lanes(const std::vector<OperationList>& lists) {
  std::map<LaneName, std::vector<Operation>> sends, receives;
  for (int r = 0; r < std::ssize(lists); ++r) {
    for (Operation op : lists[r]) {
      if (op.kind == Kind::kCompute) continue;
      auto& lane =
          (op.kind == Kind::kSend ? sends : receives)[lane_name(r, op)];
      EXPECT_EQ(op.number, std::ssize(lane));
      op.kind = {};  // what both have in common
      op.part = {};
      op.peer = 0;
      lane.push_back(op);
    }
  }
  EXPECT_EQ(sends, receives);
}

bool reads(const Operation& op, const Operation& receive) {
  const bool gradient = receive.phase == Phase::kBackward;
  const bool of_next_layer = gradient && receive.border == Border::kHaloX;
  return op.kind == Kind::kCompute && op.phase == receive.phase &&
         op.part == receive.part && op.micro_batch == receive.micro_batch &&
         op.chunk == receive.chunk - (gradient ? 1 : 0) &&
         op.layer == receive.layer - (of_next_layer ? 1 : 0);
}

// Between a receive and its reader there is one operation of work, none if the
// reader is the first; more only where the next receive of its lane stands as
// early.
void expect_late(int rank, const OperationList& list) {
  std::vector<int64_t> work = {0};  // computes before each
  for (const Operation& op : list) {
    work.push_back(work.back() + (op.kind == Kind::kCompute ? 1 : 0));
  }
  std::map<LaneName, int64_t> next;  // work before the next receive
  for (int64_t i = std::ssize(list) - 1; i >= 0; --i) {
    if (list[i].kind != Kind::kReceive) continue;
    const auto reader =
        std::find_if(list.begin() + i, list.end(),
                     [&](const Operation& op) { return reads(op, list[i]); });
    ASSERT_NE(reader, list.end());
    const int64_t late = std::max<int64_t>(work[reader - list.begin()] - 1, 0);
    int64_t& limit =
        next.try_emplace(lane_name(rank, list[i]), late).first->second;
    limit = std::min(limit, late);
    EXPECT_EQ(work[i], limit);
  }
}

// Stricter lanes don't make a step shorter.
void expect_runs(const ScheduleShape& shape,
                 const std::vector<OperationList>& lists,
                 const MessageDelay& delay) {
  int64_t before = 0;
  for (const LaneRule rule : kLaneRules) {
    const Timeline timeline = run_virtual_clock(shape, lists, delay, rule);
    EXPECT_GE(timeline.makespan, before);
    before = timeline.makespan;
  }
}

// Some number below `limit` that depends on the message alone.
int64_t scattered(int rank, const Operation& send, int64_t limit) {
  uint64_t hash = 0;
  for (const int64_t value : {int64_t{rank}, int64_t{send.peer}, send.number,
                              static_cast<int64_t>(lane_of(send))}) {
    hash = (hash + static_cast<uint64_t>(value) + 1) * 0x9E3779B97F4A7C15;
  }
  return static_cast<int64_t>((hash >> 20) % static_cast<uint64_t>(limit));
}

// Delays of messages, of which a shape gets those of the price and one other:
// scattered, a few very long, or those of one lane.
void expect_runs_with_delay(const ScheduleShape& shape,
                            const std::vector<OperationList>& lists, int kind) {
  expect_runs(shape, lists, {});
  expect_runs(shape, lists, [&](int rank, const Operation& send) -> int64_t {
    if (kind == kLanes) return scattered(rank, send, 50);
    if (kind > kLanes) return scattered(rank, send, 20) == 0 ? 1 << 30 : 0;
    return static_cast<int>(lane_of(send)) == kind ? 1'000'000 + rank : 0;
  });
}

TEST(LanesOfAnyShape, AreInOrderLateAndNeverStuck) {
  RandomShapes shapes(5);
  for (int i = 0; i < kShapes && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    ScheduleShape shape = shapes.next();
    shapes.draw_carried(shape);
    const auto lists = make_schedule(shape);
    expect_order_of_lanes(lists);
    for (int r = 0; r < shape.ranks; ++r) expect_late(r, lists[r]);
    expect_runs_with_delay(shape, lists, i % kDelays);
  }
}

// Two ranks whose hot chunks take turns going forward and back.
TEST(LanesOfAnyShape, AreInOrderWithManyHotRounds) {
  for (const int64_t hot_rounds : {0, 1, 2, 3, 4}) {
    SCOPED_TRACE(hot_rounds);
    const ScheduleShape shape = whole_layers(2, 2, 8, hot_rounds);
    const auto lists = make_schedule(shape);
    expect_order_of_lanes(lists);
    for (int r = 0; r < shape.ranks; ++r) expect_late(r, lists[r]);
    for (int kind = 0; kind < kDelays; ++kind) {
      expect_runs_with_delay(shape, lists, kind);
    }
  }
}

}  // namespace
}  // namespace timepipe
