#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "parallel/schedule.h"
#include "parallel/virtual_clock.h"
#include "tests/parallel/schedule_shapes.h"

// What holds of the lists of any shape: tried on thousands of random ones.

namespace timepipe {
namespace {

using Kind = Operation::Kind;

constexpr int kShapes = 1500;  // for each property

// How often each part of a chunk is computed in each phase.
using WorkCount = std::map<std::tuple<Phase, Part, int32_t>, int>;

WorkCount expected_work(const ScheduleShape& shape, bool cold) {
  const auto L = static_cast<int32_t>(shape.layers.size());
  const Part parts[] = {Part::kConv, Part::kProject, Part::kScan,
                        Part::kOutput};
  WorkCount count;
  const auto add = [&](Phase phase) {
    count[{phase, Part::kEmbed, 0}] = 1;
    for (int32_t l = 0; l < L; ++l) {
      for (const Part part : parts) count[{phase, part, l}] = 1;
    }
  };
  add(Phase::kForward);
  if (!shape.training) {
    count[{Phase::kForward, Part::kHead, 0}] = 1;
    return count;
  }
  add(Phase::kBackward);
  count[{Phase::kBackward, Part::kHead, 0}] = 1;
  if (cold) {
    add(Phase::kRecompute);
    count.erase({Phase::kForward, Part::kOutput, L - 1});
  }
  return count;
}

// Whether a chunk is cold: hot_rounds or more of its rank's chunks of the same
// micro-batch come after it.
bool is_cold(const ScheduleShape& shape, int64_t micro_batch, int64_t chunk) {
  const auto chunks =
      static_cast<int64_t>(shape.micro_batches[micro_batch].size());
  int64_t after_it = 0;
  for (int64_t c = chunk + shape.ranks; c < chunks; c += shape.ranks) {
    ++after_it;
  }
  return after_it >= shape.hot_rounds;
}

int64_t expected_bytes(const ScheduleShape& shape) {
  int64_t total = 0;
  if (shape.ranks == 1) return total;
  for (size_t s = 0; s < shape.micro_batches.size(); ++s) {
    for (size_t c = 1; c < shape.micro_batches[s].size(); ++c) {
      const ChunkShape& chunk = shape.micro_batches[s][c];
      int64_t bytes = 0;
      for (size_t l = 0; l < shape.layers.size(); ++l) {
        const auto& border = shape.layers[l].border_bytes;
        if (chunk.takes_state) bytes += border[2];
        if (chunk.takes_halo) bytes += border[1] + (l > 0 ? border[0] : 0);
      }
      total += shape.training && !chunk.detached ? 2 * bytes : bytes;
    }
  }
  return total;
}

// Each chunk is computed on one rank, as often as it should.
void expect_complete(const ScheduleShape& shape,
                     const std::vector<OperationList>& lists) {
  std::map<std::pair<int32_t, int32_t>, WorkCount> work;
  for (int r = 0; r < shape.ranks; ++r) {
    for (const Operation& op : lists[r]) {
      if (op.kind != Kind::kCompute) continue;
      EXPECT_EQ(shape.rank_of(op.micro_batch, op.chunk), r);
      const bool slab =
          op.phase != Phase::kForward ||
          (shape.training && !is_cold(shape, op.micro_batch, op.chunk));
      EXPECT_EQ(op.slab != kColdSlab, slab);
      ++work[{op.micro_batch, op.chunk}][{op.phase, op.part, op.layer}];
    }
  }
  for (size_t s = 0; s < shape.micro_batches.size(); ++s) {
    for (size_t c = 0; c < shape.micro_batches[s].size(); ++c) {
      EXPECT_EQ((work[{s, c}]), expected_work(shape, is_cold(shape, s, c)));
    }
  }
}

void expect_balanced(const ScheduleShape& shape) {
  std::vector<int64_t> chunks(shape.ranks);
  for (size_t s = 0; s < shape.micro_batches.size(); ++s) {
    for (size_t c = 0; c < shape.micro_batches[s].size(); ++c) {
      ++chunks[shape.rank_of(s, c)];
    }
  }
  const auto [least, most] = std::minmax_element(chunks.begin(), chunks.end());
  EXPECT_LE(*most - *least, 1);
}

// Work in progress opens in order: per rank forward ascending over all
// micro-batches, in a micro-batch recomputations and backward visits
// descending.
void expect_ordered(const OperationList& list) {
  std::pair<int32_t, int32_t> forward = {-1, -1}, recompute = {-1, -1};
  std::map<int32_t, int32_t> backward;
  for (const Operation& op : list) {
    if (op.kind != Kind::kCompute) continue;
    if (op.part == Part::kEmbed && op.phase == Phase::kForward) {
      EXPECT_LT(forward, std::pair(op.micro_batch, op.chunk));
      forward = {op.micro_batch, op.chunk};
    } else if (op.part == Part::kEmbed && op.phase == Phase::kRecompute) {
      EXPECT_LT(recompute, std::pair(op.micro_batch, -op.chunk));
      recompute = {op.micro_batch, -op.chunk};
    } else if (op.part == Part::kHead && op.phase == Phase::kBackward) {
      const auto last = backward.find(op.micro_batch);
      EXPECT_TRUE(last == backward.end() || op.chunk < last->second);
      backward[op.micro_batch] = op.chunk;
    }
  }
}

// The lists run, and stay within their slabs, whatever messages take.
void expect_runs(const ScheduleShape& shape,
                 const std::vector<OperationList>& lists,
                 const MessageDelay& delay) {
  const Timeline timeline = run_virtual_clock(shape, lists, delay);
  int64_t sent = 0;
  for (int r = 0; r < shape.ranks; ++r) {
    EXPECT_LE(timeline.peak_slabs[r], std::max<int64_t>(shape.hot_rounds, 1));
    EXPECT_LE(timeline.busy[r], timeline.makespan);
    sent += timeline.bytes_sent[r];
  }
  EXPECT_EQ(sent, expected_bytes(shape));
}

TEST(ScheduleOfAnyShape, IsCompleteBalancedAndOrdered) {
  RandomShapes shapes(1);
  for (int i = 0; i < kShapes && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    const ScheduleShape shape = shapes.next();
    const auto lists = make_schedule(shape);
    expect_complete(shape, lists);
    expect_balanced(shape);
    for (const OperationList& list : lists) expect_ordered(list);
    EXPECT_EQ(lists, make_schedule(shape));
  }
}

TEST(ScheduleOfAnyShape, RunsUnderAnyMessageDelay) {
  RandomShapes shapes(2);
  for (int i = 0; i < kShapes && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    const ScheduleShape shape = shapes.next();
    const auto lists = make_schedule(shape);
    expect_runs(shape, lists, {});
    expect_runs(shape, lists,
                [&](int, const Operation&) { return shapes.number(0, 50); });
    expect_runs(shape, lists, [&](int, const Operation&) {
      return shapes.chance(10) ? int64_t{1} << shapes.number(10, 40) : 0;
    });
    const int64_t slow = shapes.number(0, shape.ranks - 1);
    expect_runs(shape, lists, [&](int rank, const Operation&) -> int64_t {
      return rank == slow ? 1'000'000'000 : 1;
    });
  }
}

TEST(ScheduleOfAnyShape, RunsWhateverTheWorkReallyTakes) {
  RandomShapes shapes(3);
  for (int i = 0; i < kShapes && !HasFailure(); ++i) {
    SCOPED_TRACE(i);
    ScheduleShape shape = shapes.next();
    const auto lists = make_schedule(shape);
    for (int draw = 0; draw < 3; ++draw) {
      shapes.draw_prices(shape);
      expect_runs(shape, lists, {});
    }
  }
}

}  // namespace
}  // namespace timepipe
