#include "parallel/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "parallel/virtual_clock.h"
#include "runtime/error.h"
#include "tests/parallel/schedule_shapes.h"
#include "tests/support/throws.h"

namespace timepipe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::throws;
using Kind = Operation::Kind;

Timeline run(const ScheduleShape& shape) {
  return run_virtual_clock(shape, make_schedule(shape));
}

int64_t num_messages(const OperationList& list) {
  return std::count_if(list.begin(), list.end(), [](const Operation& op) {
    return op.kind != Kind::kCompute;
  });
}

// "forward scan 0.2 slab 1": micro-batch 0, chunk 2; "send state 0.2 to 1".
std::string text_of(const Operation& op) {
  const std::string chunk =
      std::to_string(op.micro_batch) + "." + std::to_string(op.chunk);
  if (op.kind == Kind::kCompute) {
    return std::string(name_of(op.phase)) + " " + name_of(op.part) + " " +
           chunk + " slab " + std::to_string(op.slab);
  }
  const bool send = op.kind == Kind::kSend;
  return std::string(send ? "send " : "receive ") +
         (op.phase == Phase::kBackward ? "d" : "") + name_of(op.border) + " " +
         chunk + (send ? " to " : " from ") + std::to_string(op.peer);
}

std::vector<std::string> texts_of(const OperationList& list) {
  std::vector<std::string> texts;
  for (const Operation& op : list) texts.push_back(text_of(op));
  return texts;
}

// The visits of a rank in the order in which they open: "forward 0.2".
std::vector<std::string> visits_of(const OperationList& list) {
  std::vector<std::string> visits;
  for (const Operation& op : list) {
    const Part first =
        op.phase == Phase::kBackward ? Part::kHead : Part::kEmbed;
    if (op.kind != Kind::kCompute || op.part != first) continue;
    visits.push_back(std::string(name_of(op.phase)) + " " +
                     std::to_string(op.micro_batch) + "." +
                     std::to_string(op.chunk));
  }
  return visits;
}

// A whole step by hand: two chunks, two ranks, one layer.
TEST(Schedule, OfTwoRanksIsTheOneOfTheDesign) {
  ScheduleShape shape = whole_layers(2, 1, 2, 0);
  shape.layers[0].border_bytes[static_cast<int>(Border::kHaloQk)] = 0;
  const auto lists = make_schedule(shape);
  EXPECT_THAT(
      texts_of(lists[0]),
      ElementsAre("forward embed 0.0 slab -1", "forward conv 0.0 slab -1",
                  "forward project 0.0 slab -1", "forward scan 0.0 slab -1",
                  "send state 0.1 to 1", "recompute embed 0.0 slab 0",
                  "recompute conv 0.0 slab 0", "recompute project 0.0 slab 0",
                  "recompute scan 0.0 slab 0", "recompute output 0.0 slab 0",
                  "backward head 0.0 slab 0", "receive dstate 0.1 from 1",
                  "backward output 0.0 slab 0", "backward scan 0.0 slab 0",
                  "backward project 0.0 slab 0", "backward conv 0.0 slab 0",
                  "backward embed 0.0 slab 0"));
  EXPECT_THAT(
      texts_of(lists[1]),
      ElementsAre("forward embed 0.1 slab -1", "forward conv 0.1 slab -1",
                  "receive state 0.1 from 0", "forward project 0.1 slab -1",
                  "forward scan 0.1 slab -1", "recompute embed 0.1 slab 0",
                  "recompute conv 0.1 slab 0", "recompute project 0.1 slab 0",
                  "recompute scan 0.1 slab 0", "recompute output 0.1 slab 0",
                  "backward head 0.1 slab 0", "backward output 0.1 slab 0",
                  "backward scan 0.1 slab 0", "send dstate 0.1 to 0",
                  "backward project 0.1 slab 0", "backward conv 0.1 slab 0",
                  "backward embed 0.1 slab 0"));
}

TEST(Schedule, WithoutTrainingRunsForwardToTheHead) {
  const auto lists = make_schedule(whole_layers(1, 1, 1, 3, false));
  EXPECT_THAT(
      texts_of(lists[0]),
      ElementsAre("forward embed 0.0 slab -1", "forward conv 0.0 slab -1",
                  "forward project 0.0 slab -1", "forward scan 0.0 slab -1",
                  "forward output 0.0 slab -1", "forward head 0.0 slab -1"));
}

TEST(Schedule, GoesForwardThenRecomputesBackwards) {
  const auto lists = make_schedule(whole_layers(1, 2, 3, 1));
  EXPECT_THAT(visits_of(lists[0]),
              ElementsAre("forward 0.0", "forward 0.1", "forward 0.2",
                          "backward 0.2", "recompute 0.1", "backward 0.1",
                          "recompute 0.0", "backward 0.0"));
}

// Forward work of the next micro-batch goes before recomputation, but its hot
// chunk waits until all of the first micro-batch have had their slab.
TEST(Schedule, TakesSlabsInTheOrderOfMicroBatches) {
  ScheduleShape shape = whole_layers(1, 2, 2, 1);
  shape.micro_batches.push_back(document(2));
  EXPECT_THAT(
      visits_of(make_schedule(shape)[0]),
      ElementsAre("forward 0.0", "forward 0.1", "backward 0.1", "forward 1.0",
                  "recompute 0.0", "backward 0.0", "forward 1.1",
                  "backward 1.1", "recompute 1.0", "backward 1.0"));
}

// A chunk at which a document starts waits for nobody.
TEST(Schedule, FillsInTheTimeOfTheLongestDocument) {
  const int64_t L = 6;
  for (const bool training : {false, true}) {
    ScheduleShape shape = whole_layers(8, L, 8, 0, training);
    for (const int64_t start : {3, 7}) {
      shape.micro_batches[0][start].takes_state = false;
      shape.micro_batches[0][start].takes_halo = false;
    }
    // Its four chunks: three hops of 1 forward, of 2 backward.
    const int64_t fill = training ? 3 + 6 : 3;
    EXPECT_EQ(run(shape).makespan, (training ? 4 * L : L) + fill);
  }
}

TEST(Schedule, OfDocumentsOfOneChunkHasNoBubble) {
  ScheduleShape shape = whole_layers(4, 6, 12, 1);
  for (ChunkShape& chunk : shape.micro_batches[0]) {
    chunk.takes_state = chunk.takes_halo = false;
  }
  const auto lists = make_schedule(shape);
  for (const OperationList& list : lists) EXPECT_EQ(num_messages(list), 0);
  EXPECT_EQ(run_virtual_clock(shape, lists).efficiency(), 1);
}

TEST(Schedule, SendsEachBorderOnceInEachDirection) {
  const int64_t L = 3, C = 10;
  const Timeline timeline = run(whole_layers(4, L, C, 1));
  int64_t sent = 0;
  for (const int64_t bytes : timeline.bytes_sent) sent += bytes;
  EXPECT_EQ(sent, 2 * (C - 1) * (L * (1000 + 40) + (L - 1) * 24));
}

TEST(Schedule, SendsNoGradientsToTheLeftOfADetachedChunk) {
  ScheduleShape shape = whole_layers(3, 2, 7, 1);
  shape.micro_batches[0][4].detached = true;
  for (const OperationList& list : make_schedule(shape)) {
    for (const Operation& op : list) {
      if (op.kind == Kind::kCompute || op.chunk != 4) continue;
      EXPECT_EQ(op.phase, Phase::kForward) << text_of(op);
    }
  }
  const int64_t borders = 2 * (1000 + 40) + 24;
  int64_t sent = 0;
  for (const int64_t bytes : run(shape).bytes_sent) sent += bytes;
  EXPECT_EQ(sent, (6 + 5) * borders);
}

// What others wait for leaves at once.
TEST(Schedule, SendsRightAfterTheWork) {
  for (const OperationList& list : make_schedule(whole_layers(3, 2, 12, 2))) {
    for (size_t i = 0; i < list.size(); ++i) {
      if (list[i].kind != Kind::kSend) continue;
      EXPECT_EQ(list[i - 1].kind, Kind::kCompute) << text_of(list[i]);
      EXPECT_EQ(list[i - 1].part, list[i].part) << text_of(list[i]);
    }
  }
}

// A micro-batch of one chunk on rank 0; rank 1 has what it goes on from.
TEST(Schedule, SendsCarriedBordersBeforeAllWork) {
  ScheduleShape shape = whole_layers(2, 1, 1, 0, false);
  shape.micro_batches.push_back(document(1));
  shape.micro_batches[0][0].takes_state = shape.micro_batches[0][0].takes_halo =
      true;
  shape.carried_from = {1, 1};
  const auto lists = make_schedule(shape);
  EXPECT_THAT(
      texts_of(lists[0]),
      ElementsAre("forward embed 0.0 slab -1", "receive halo_qk 0.0 from 1",
                  "forward conv 0.0 slab -1", "receive state 0.0 from 1",
                  "forward project 0.0 slab -1", "forward scan 0.0 slab -1",
                  "forward output 0.0 slab -1", "forward head 0.0 slab -1"));
  EXPECT_THAT(
      texts_of(lists[1]),
      ElementsAre("send halo_qk 0.0 to 0", "send state 0.0 to 0",
                  "forward embed 1.0 slab -1", "forward conv 1.0 slab -1",
                  "forward project 1.0 slab -1", "forward scan 1.0 slab -1",
                  "forward output 1.0 slab -1", "forward head 1.0 slab -1"));
  shape.carried_from = {0, 0};
  for (const OperationList& list : make_schedule(shape)) {
    EXPECT_EQ(num_messages(list), 0);
  }
}

TEST(Schedule, OfOneRankHasNoMessages) {
  ScheduleShape shape = whole_layers(1, 3, 5, 2);
  shape.micro_batches.push_back(document(4));
  const auto lists = make_schedule(shape);
  EXPECT_EQ(num_messages(lists[0]), 0);
  EXPECT_EQ(run_virtual_clock(shape, lists).efficiency(), 1);
}

TEST(Schedule, LeavesRanksWithoutAChunkEmpty) {
  ScheduleShape shape = whole_layers(7, 2, 2, 1);
  shape.micro_batches.push_back(document(1));
  const auto lists = make_schedule(shape);
  ASSERT_EQ(lists.size(), 7u);
  for (int r = 0; r < 7; ++r) EXPECT_EQ(lists[r].empty(), r >= 3);
  const Timeline timeline = run_virtual_clock(shape, lists);
  EXPECT_THAT(timeline.peak_slabs, ElementsAre(1, 1, 1, 0, 0, 0, 0));
}

TEST(Schedule, DealsTheNextMicroBatchWhereTheLastEnded) {
  ScheduleShape shape = whole_layers(3, 1, 4, 0);
  shape.micro_batches.push_back(document(5));
  shape.micro_batches.push_back(document(1));
  EXPECT_EQ(shape.rank_of(0, 3), 0);
  EXPECT_EQ(shape.rank_of(1, 0), 1);
  EXPECT_EQ(shape.rank_of(1, 4), 2);
  EXPECT_EQ(shape.rank_of(2, 0), 0);
  EXPECT_EQ(run(shape).busy, std::vector<int64_t>({16, 12, 12}));
}

// Micro-batches of one chunk each: data parallelism without any message.
TEST(Schedule, OfMicroBatchesOfOneChunkHasNoBubble) {
  ScheduleShape shape = whole_layers(4, 3, 1, 1);
  shape.micro_batches.assign(12, document(1));
  const auto lists = make_schedule(shape);
  for (const OperationList& list : lists) EXPECT_EQ(num_messages(list), 0);
  EXPECT_EQ(run_virtual_clock(shape, lists).efficiency(), 1);
}

TEST(Schedule, RefusesShapesThatMakeNoSense) {
  const auto expect_refused = [](const ScheduleShape& shape, const char* what) {
    EXPECT_THAT([&] { make_schedule(shape); },
                throws<InvalidArgument>(HasSubstr(what)));
  };
  const ScheduleShape good = whole_layers(2, 1, 2, 1);
  ScheduleShape shape = good;
  shape.ranks = 0;
  expect_refused(shape, "ranks: 0, expected at least 1");
  shape = good;
  shape.layers.clear();
  expect_refused(shape, "layers: 0");
  shape = good;
  shape.micro_batches.emplace_back();
  expect_refused(shape, "chunks of a micro-batch: 0");
  shape = good;
  shape.micro_batches[0][1].tokens = -1;
  expect_refused(shape, "tokens of a chunk: -1");
  shape = good;
  shape.layers[0].border_bytes[2] = -8;
  expect_refused(shape, "border_bytes: -8");
  shape = good;
  shape.layers[0].backward[kScanIndex] = -2;
  expect_refused(shape, "backward price: -2");
  shape = good;
  shape.hot_rounds = -1;
  expect_refused(shape, "hot_rounds: -1");
  shape = good;
  shape.message_price = -1;
  expect_refused(shape, "message_price: -1");
  shape = good;
  shape.carried_from = {0, 0};
  expect_refused(shape, "carried_from: 2 ranks, expected one for each of 1");
  shape.carried_from = {2};
  expect_refused(shape, "carried_from: 2, expected [0,2)");
}

TEST(Schedule, OfNoMicroBatchIsEmpty) {
  ScheduleShape shape = whole_layers(3, 2, 1, 1);
  shape.micro_batches.clear();
  for (const OperationList& list : make_schedule(shape)) {
    EXPECT_TRUE(list.empty());
  }
}

}  // namespace
}  // namespace timepipe
