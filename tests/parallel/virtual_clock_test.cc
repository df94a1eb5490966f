#include "parallel/virtual_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "runtime/error.h"
#include "tests/parallel/schedule_shapes.h"
#include "tests/parallel/spoilt_lists.h"

// The clock finds what is wrong with lists; here right ones are spoilt.

namespace timepipe {
namespace {

using ::testing::ElementsAre;

// Two ranks, one layer, `chunks` chunks.
ScheduleShape small(int64_t chunks, int64_t hot_rounds = 0) {
  ScheduleShape shape = whole_layers(2, 1, chunks, hot_rounds);
  shape.layers[0].border_bytes = {0, 0, 1000};
  return shape;
}

ScheduleShape small_forward(int64_t chunks) {
  ScheduleShape shape = small(chunks);
  shape.training = false;
  return shape;
}

// Forward 1 and 1, a message of 5 between; recomputation 1, backward 2, the
// gradient takes 7; recomputation of chunk 0 meanwhile, backward 2.
TEST(VirtualClock, AddsUpWorkAndMessages) {
  const ScheduleShape shape = small(2);
  const Timeline timeline = run_virtual_clock(
      shape, make_schedule(shape), [](int rank, const Operation& send) {
        EXPECT_EQ(rank, send.phase == Phase::kForward ? 0 : 1);
        return rank == 0 ? 5 : 7;
      });
  EXPECT_EQ(timeline.makespan, 1 + 5 + 1 + 1 + 2 + 7 + 2);
  EXPECT_THAT(timeline.busy, ElementsAre(4, 4));
  EXPECT_THAT(timeline.peak_slabs, ElementsAre(1, 1));
  EXPECT_THAT(timeline.bytes_sent, ElementsAre(1000, 1000));
  EXPECT_DOUBLE_EQ(timeline.efficiency(), 8.0 / (2 * 19));
}

TEST(VirtualClock, TakesTheLatencyOfTheShapeByDefault) {
  ScheduleShape shape = small_forward(3);
  shape.message_price = 10;
  EXPECT_EQ(run_virtual_clock(shape, make_schedule(shape)).makespan, 23);
}

// Two scans send at 1 and 2. The second receive is posted when the first has
// been read, at 12: a message of 10 from there if it holds its lane.
TEST(VirtualClock, LetsAMessageHoldItsLane) {
  ScheduleShape shape = whole_layers(2, 2, 2, 0, false);
  for (LayerShape& layer : shape.layers) layer.border_bytes = {0, 0, 1000};
  shape.message_price = 10;
  const Lists lists = make_schedule(shape);
  EXPECT_EQ(run_virtual_clock(shape, lists).makespan, 13);
  for (const LaneRule rule : {LaneRule::kHolding, LaneRule::kOneOutstanding}) {
    EXPECT_EQ(run_virtual_clock(shape, lists, {}, rule).makespan, 23);
  }
}

// Three micro-batches of a chunk, a rank each; rank 2 has what they go on from.
ScheduleShape carried() {
  ScheduleShape shape = whole_layers(3, 1, 1, 0, false);
  shape.layers[0].border_bytes = {0, 0, 1000};
  shape.micro_batches.assign(3, shape.micro_batches[0]);
  for (MicroBatchShape& micro_batch : shape.micro_batches) {
    micro_batch.front().takes_state = true;
  }
  shape.carried_from = {2, 2, 2};
  shape.message_price = 10;
  return shape;
}

TEST(VirtualClock, SendsToTwoRanksOneAfterTheOtherIfOneIsOutstanding) {
  const ScheduleShape shape = carried();
  const Lists lists = make_schedule(shape);
  const auto makespan = [&](LaneRule rule) {
    return run_virtual_clock(shape, lists, {}, rule).makespan;
  };
  EXPECT_EQ(makespan(LaneRule::kFree), 11);
  EXPECT_EQ(makespan(LaneRule::kHolding), 11);
  EXPECT_EQ(makespan(LaneRule::kOneOutstanding), 21);
}

TEST(VirtualClock, FindsCarriedBordersThatDoNotCome) {
  ScheduleShape shape = carried();
  const Lists good = make_schedule(shape);
  const Predicate sends = is(Kind::kSend, Phase::kForward, Border::kState, 0);
  const Predicate receives =
      is(Kind::kReceive, Phase::kForward, Border::kState, 0);
  Lists lists = good;
  lists[2].erase(find(lists[2], sends));
  lists[2].erase(find(lists[2], sends));
  expect_refused(shape, lists, "rank 0: forward scan of layer 0, chunk 0",
                 "deadlock");
  lists = good;
  lists[0].erase(find(lists[0], receives));
  expect_refused(shape, lists, "rank 0: forward scan of layer 0, chunk 0",
                 "no receive was posted");
  lists = good;
  lists[1].push_back(*find(lists[2], sends));
  lists[2].erase(find(lists[2], sends));
  expect_refused(shape, lists, "rank 1: send of state",
                 "border of another rank");
  shape.carried_from[0] = 1;
  expect_refused(shape, good, "rank 2: send of state of layer 0, chunk 0",
                 "border of another rank");
}

TEST(VirtualClock, PricesTokensEmbeddingAndHead) {
  ScheduleShape shape = whole_layers(1, 2, 1, 1);
  shape.micro_batches[0][0].tokens = 10;
  shape.embed_price = 100;
  shape.head_price = 1000;
  // Forward 2 layers, backward 2, embedding both ways, head once.
  EXPECT_EQ(run_virtual_clock(shape, make_schedule(shape)).makespan,
            10 * (2 + 4 + 2 * 100 + 1000));
}

TEST(VirtualClock, OfNoWorkLosesNothing) {
  ScheduleShape shape = small(1);
  shape.micro_batches.clear();
  const Timeline timeline = run_virtual_clock(shape, {{}, {}});
  EXPECT_EQ(timeline.makespan, 0);
  EXPECT_EQ(timeline.efficiency(), 1);
}

TEST(VirtualClock, FindsADeadlock) {
  const ScheduleShape shape = small_forward(4);
  Lists lists = make_schedule(shape);
  // Rank 0 takes chunk 2 before chunk 0, which rank 1 needs for chunk 2.
  OperationList& list = lists[0];
  const Predicate opens_2 = computes(Phase::kForward, Part::kEmbed, 2);
  const auto first = find(list, computes(Phase::kForward, Part::kEmbed, 0));
  std::rotate(first, find(list, opens_2), list.end());
  expect_refused(shape, lists, "scan of layer 0, chunk", "deadlock");
}

TEST(VirtualClock, FindsMissingMessages) {
  const ScheduleShape shape = small_forward(2);
  const auto without = [&](int rank, Kind kind) {
    Lists lists = make_schedule(shape);
    lists[rank].erase(
        find(lists[rank], is(kind, Phase::kForward, Border::kState, 1)));
    return lists;
  };
  expect_refused(shape, without(0, Kind::kSend),
                 "rank 1: forward scan of layer 0, chunk 1, micro-batch 0",
                 "deadlock");
  expect_refused(shape, without(1, Kind::kReceive), "rank 1: forward scan",
                 "no receive was posted");
}

TEST(VirtualClock, FindsMessagesThatAreLeftOver) {
  const ScheduleShape shape = small_forward(2);
  const Lists good = make_schedule(shape);
  const Predicate receives_first =
      is(Kind::kReceive, Phase::kForward, Border::kState, 1);
  Lists lists = good;
  lists[1].clear();
  expect_refused(shape, lists, "rank 0: send of state", "never received");
  lists = good;
  lists[1] = {*find(lists[1], receives_first)};
  expect_refused(shape, lists, "rank 0: send of state", "never read");
  lists[0].clear();
  expect_refused(shape, lists, "rank 1: receive of state", "never sent");
}

TEST(VirtualClock, FindsRepeatedMessages) {
  const ScheduleShape shape = small(2);
  for (const Kind kind : {Kind::kSend, Kind::kReceive}) {
    Lists lists = make_schedule(shape);
    OperationList& list = lists[kind == Kind::kSend ? 1 : 0];
    const auto at = find(list, is(kind, Phase::kBackward, Border::kState, 1));
    list.insert(at, Operation(*at));
    expect_refused(shape, lists, "gradient of state",
                   kind == Kind::kSend ? "sent twice" : "received twice");
  }
}

TEST(VirtualClock, FindsMessagesOutOfTheirOrder) {
  const ScheduleShape shape = small_forward(4);
  const Lists good = make_schedule(shape);
  const auto first = is(Kind::kSend, Phase::kForward, Border::kState, 1);
  const auto second = is(Kind::kSend, Phase::kForward, Border::kState, 3);
  Lists lists = good;
  std::swap(find(lists[0], first)->number, find(lists[0], second)->number);
  expect_refused(shape, lists, "rank 0: send of state of layer 0, chunk 1",
                 "its number isn't its place");
  // Receives that count, but in another order than the sends.
  lists = good;
  const auto one = is(Kind::kReceive, Phase::kForward, Border::kState, 1);
  const auto three = is(Kind::kReceive, Phase::kForward, Border::kState, 3);
  move_to(lists[1], three, one);
  expect_refused(shape, lists, "rank 1: receive of state of layer 0, chunk 3",
                 "its number isn't its place");
  std::swap(find(lists[1], one)->number, find(lists[1], three)->number);
  expect_refused(shape, lists, "rank 0: send of state of layer 0, chunk 1",
                 "receives are in another order than the sends");
}

TEST(VirtualClock, FindsAReceiveAfterItsReader) {
  const ScheduleShape shape = small_forward(2);
  Lists lists = make_schedule(shape);
  move_to(lists[1], is(Kind::kReceive, Phase::kForward, Border::kState, 1),
          computes(Phase::kForward, Part::kOutput, 1));
  expect_refused(shape, lists, "rank 1: forward scan of layer 0, chunk 1",
                 "no receive was posted");
}

// Rank 0 sends chunk 0's state only after the work on chunk 2, for which it
// waits for rank 1, which waits for that state.
TEST(VirtualClock, FindsASendThatIsTooLate) {
  const ScheduleShape shape = small_forward(4);
  Lists lists = make_schedule(shape);
  move_to(lists[0], is(Kind::kSend, Phase::kForward, Border::kState, 1),
          is(Kind::kSend, Phase::kForward, Border::kState, 3));
  expect_refused(shape, lists, "rank 0: forward scan of layer 0, chunk 2",
                 "deadlock");
}

TEST(VirtualClock, FindsASendBeforeItsWork) {
  const ScheduleShape shape = small(2);
  Lists lists = make_schedule(shape);
  move_to(lists[1], is(Kind::kSend, Phase::kBackward, Border::kState, 1),
          computes(Phase::kBackward, Part::kScan, 1));
  expect_refused(shape, lists, "rank 1: send of gradient of state",
                 "sent before it is computed");
}

TEST(VirtualClock, FindsMessagesThatDoNotFit) {
  const ScheduleShape shape = small_forward(2);
  const auto spoilt = [&](auto spoil) {
    Lists lists = make_schedule(shape);
    spoil(*find(lists[0], is(Kind::kSend, Phase::kForward, Border::kState, 1)));
    return lists;
  };
  expect_refused(shape, spoilt([](Operation& op) { op.bytes = 999; }),
                 "rank 0: send of state", "wrong size");
  expect_refused(shape, spoilt([](Operation& op) { op.peer = 0; }),
                 "rank 0: send of state", "to itself");
  expect_refused(shape, spoilt([](Operation& op) { op.peer = 3; }),
                 "rank 0: send of state", "wrong peer");
  expect_refused(shape, spoilt([](Operation& op) { op.chunk = 0; }),
                 "rank 0: send of state", "nothing crosses");
  expect_refused(shape,
                 spoilt([](Operation& op) { op.border = Border::kHaloQk; }),
                 "rank 0: send of halo_qk", "nothing crosses");
}

TEST(VirtualClock, FindsWorkOutOfOrder) {
  const ScheduleShape shape = small(2);
  const auto moved = [&](const Predicate& what, const Predicate& before) {
    Lists lists = make_schedule(shape);
    move_to(lists[0], what, before);
    return lists;
  };
  expect_refused(shape,
                 moved(computes(Phase::kForward, Part::kProject, 0),
                       computes(Phase::kForward, Part::kConv, 0)),
                 "rank 0: forward project", "the part before it is missing");
  expect_refused(shape,
                 moved(computes(Phase::kBackward, Part::kProject, 0),
                       computes(Phase::kBackward, Part::kScan, 0)),
                 "rank 0: backward project", "the part after it is missing");
  expect_refused(shape,
                 moved(computes(Phase::kBackward, Part::kHead, 0),
                       computes(Phase::kRecompute, Part::kOutput, 0)),
                 "rank 0: backward head", "activations are missing");
}

TEST(VirtualClock, FindsRecomputationBeforeItsBorderIsHere) {
  const ScheduleShape shape = small(2);
  Lists lists = make_schedule(shape);
  for (const Part part :
       {Part::kEmbed, Part::kConv, Part::kProject, Part::kScan}) {
    move_to(lists[1], computes(Phase::kRecompute, part, 1),
            computes(Phase::kForward, Part::kScan, 1));
  }
  expect_refused(shape, lists, "rank 1: recompute scan",
                 "its border isn't here yet");
}

TEST(VirtualClock, FindsALocalBorderThatIsNotHereYet) {
  ScheduleShape shape = whole_layers(1, 1, 2, 0, false);
  Lists lists = make_schedule(shape);
  std::rotate(lists[0].begin(),
              find(lists[0], computes(Phase::kForward, Part::kEmbed, 1)),
              lists[0].end());
  expect_refused(shape, lists, "rank 0: forward project of layer 0, chunk 1",
                 "its neighbour's border isn't here yet");
}

TEST(VirtualClock, FindsWorkThatIsNotTheRanks) {
  const ScheduleShape shape = small_forward(2);
  Lists lists = make_schedule(shape);
  lists[0].push_back(
      *find(lists[1], is(Kind::kReceive, Phase::kForward, Border::kState, 1)));
  lists[0].back().peer = 1;
  expect_refused(shape, lists, "rank 0: receive of state",
                 "border of another rank");
  lists = make_schedule(shape);
  lists[1].push_back(lists[0].front());
  expect_refused(shape, lists, "rank 1: forward embed",
                 "chunk of another rank");
  lists = make_schedule(shape);
  lists[0].push_back(lists[0].front());
  expect_refused(shape, lists, "rank 0: forward embed", "computed twice");
  lists[0].back().chunk = 2;
  expect_refused(shape, lists, "rank 0: forward embed", "no such chunk");
  lists[0].back().micro_batch = 1;
  expect_refused(shape, lists, "rank 0: forward embed", "no such micro-batch");
  lists.pop_back();
  expect_refused(shape, lists, "1 lists", "expected 2");
}

TEST(VirtualClock, FindsTwoChunksInOneSlab) {
  const ScheduleShape shape = small(4, 2);
  Lists lists = make_schedule(shape);
  for (Operation& op : lists[0]) op.slab = 0;
  expect_refused(shape, lists, "rank 0: forward embed of layer 0, chunk 2",
                 "held by another chunk");
}

TEST(VirtualClock, FindsRecomputationIntoAHeldSlab) {
  const ScheduleShape shape = small(4, 1);
  Lists lists = make_schedule(shape);
  move_to(lists[0], computes(Phase::kRecompute, Part::kEmbed, 0),
          computes(Phase::kBackward, Part::kEmbed, 2));
  expect_refused(shape, lists, "rank 0: recompute embed of layer 0, chunk 0",
                 "held by another chunk");
}

TEST(VirtualClock, FindsTwoChunksInTheColdSlab) {
  const ScheduleShape shape = small_forward(4);
  Lists lists = make_schedule(shape);
  move_to(lists[0], computes(Phase::kForward, Part::kEmbed, 2),
          computes(Phase::kForward, Part::kHead, 0));
  expect_refused(shape, lists, "rank 0: forward embed of layer 0, chunk 2",
                 "held by another chunk");
}

TEST(VirtualClock, FindsSlabsThatDoNotFit) {
  const ScheduleShape shape = small(2, 1);
  const auto with_slab = [&](Phase phase, Part part, int32_t slab) {
    Lists lists = make_schedule(shape);
    find(lists[0], computes(phase, part, 0))->slab = slab;
    return lists;
  };
  expect_refused(shape, with_slab(Phase::kForward, Part::kEmbed, 1),
                 "rank 0: forward embed", "no such slab");
  expect_refused(shape, with_slab(Phase::kBackward, Part::kHead, kColdSlab),
                 "rank 0: backward head", "needs a slab");
  expect_refused(shape, with_slab(Phase::kForward, Part::kConv, kColdSlab),
                 "rank 0: forward conv", "not in this slab");
}

TEST(VirtualClock, RefusesMessagesFromTheFuture) {
  const ScheduleShape shape = small_forward(2);
  const Lists lists = make_schedule(shape);
  EXPECT_THROW(
      run_virtual_clock(shape, lists, [](int, const Operation&) { return -1; }),
      InvalidArgument);
}

}  // namespace
}  // namespace timepipe
