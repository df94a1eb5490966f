#include <gtest/gtest.h>

#include "parallel/list_memory.h"
#include "parallel/schedule.h"
#include "tests/parallel/schedule_shapes.h"

// What borders take by the lists, in states: counted by hand.

namespace timepipe {
namespace {

constexpr int64_t kState = 1024;  // bytes

ScheduleShape states(int ranks, int64_t layers, int64_t chunks, bool training) {
  ScheduleShape shape = whole_layers(ranks, layers, chunks, 0, training);
  for (LayerShape& layer : shape.layers) layer.border_bytes = {0, 0, kState};
  return shape;
}

int64_t num_states(const ScheduleShape& shape, int rank) {
  const auto lists = make_schedule(shape);
  return list_memory(shape, rank, lists[rank]).border_bytes / kState;
}

// Without training a layer's state is given back before the next one's receive
// is posted; with it, all stay for the recomputation, and with the last one's
// gradient on its way.
TEST(ListMemory, CountsReceivesFromWhereTheyStand) {
  const int64_t L = 5;
  EXPECT_EQ(num_states(states(2, L, 2, false), 1), 1);
  EXPECT_EQ(num_states(states(2, L, 2, true), 1), L + 1);
}

// One chunk on rank 0, from what rank 1 has, where it stays.
TEST(ListMemory, CountsCarriedBordersWhereTheyLieAndWhereTheyAreRead) {
  const int64_t L = 5;
  for (const bool training : {false, true}) {
    ScheduleShape shape = states(2, L, 1, training);
    shape.micro_batches[0].front().takes_state = true;
    shape.micro_batches[0].front().detached = true;
    shape.carried_from = {1};
    EXPECT_EQ(num_states(shape, 0), training ? L : 1);
    EXPECT_EQ(num_states(shape, 1), L);
    shape.carried_from = {0};
    EXPECT_EQ(num_states(shape, 0), L);
    EXPECT_EQ(num_states(shape, 1), 0);
  }
}

// Rank 1 sends what it has to rank 0, keeps it, and has the states of its own
// chunk on their way.
TEST(ListMemory, KeepsCarriedBordersThatWereSent) {
  const int64_t L = 5;
  ScheduleShape shape = states(2, L, 1, false);
  shape.micro_batches[0].front().takes_state = true;
  shape.micro_batches.push_back(document(2));
  shape.carried_from = {1, 1};
  EXPECT_EQ(num_states(shape, 1), 2 * L);
}

}  // namespace
}  // namespace timepipe
