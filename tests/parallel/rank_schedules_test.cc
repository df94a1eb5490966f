#include "parallel/rank_schedules.h"

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/parallel/schedule_shapes.h"

namespace timepipe {
namespace {

ScheduleShape of_chunks(int64_t chunks, bool training = true) {
  return whole_layers(2, 2, chunks, 1, training);
}

TEST(RankSchedules, AreThoseOfTheRank) {
  const ScheduleShape shape = of_chunks(5);
  for (const int rank : {0, 1}) {
    RankSchedules schedules(rank);
    const auto schedule = schedules.of(shape);
    EXPECT_EQ(schedule->operations, make_schedule(shape)[rank]);
    ASSERT_EQ(schedule->prices.size(), schedule->operations.size());
    // Layers cost 1 forward and 2 backward; rank 0 has chunks 0, 2, 4, of which
    // all but the last are run a second time.
    const int64_t chunks = rank == 0 ? 3 : 2;
    EXPECT_EQ(schedule->prices.back(), 2 * (3 * chunks + chunks - 1));
  }
}

// As a run asks for them: the one after a step is begun before that step takes
// its own.
TEST(RankSchedules, ThatWereMadeAheadAreTaken) {
  RankSchedules schedules(0);
  EXPECT_EQ(schedules.of(of_chunks(3))->shape, of_chunks(3));
  EXPECT_EQ(schedules.num_late(), 1);
  schedules.make_ahead(of_chunks(4));
  for (int64_t chunks = 4; chunks < 9; ++chunks) {
    schedules.make_ahead(of_chunks(chunks + 1));
    const auto schedule = schedules.of(of_chunks(chunks));
    EXPECT_EQ(schedule->operations, make_schedule(of_chunks(chunks))[0]);
  }
  EXPECT_EQ(schedules.num_late(), 1);
}

TEST(RankSchedules, OfTrainingAndEvaluationAreKept) {
  RankSchedules schedules(0);
  for (int step = 0; step < 3; ++step) {
    schedules.make_ahead(of_chunks(3));
    schedules.of(of_chunks(3));
    schedules.of(of_chunks(3, /*training=*/false));
  }
  EXPECT_EQ(schedules.num_late(), 1);  // the evaluation
}

TEST(RankSchedules, OtherThanThoseMadeAheadAreMade) {
  RankSchedules schedules(0);
  for (const int64_t chunks : {3, 4, 5})
    schedules.make_ahead(of_chunks(chunks));
  EXPECT_EQ(schedules.of(of_chunks(6))->shape, of_chunks(6));
  EXPECT_EQ(schedules.of(of_chunks(5))->shape, of_chunks(5));
  EXPECT_EQ(schedules.of(of_chunks(3))->shape, of_chunks(3));  // given up
  EXPECT_EQ(schedules.num_late(), 2);
}

TEST(RankSchedules, ThrowWhatMakingThemAheadDid) {
  RankSchedules schedules(0);
  ScheduleShape shape = of_chunks(3);
  shape.micro_batches.push_back({});
  schedules.make_ahead(shape);
  EXPECT_THROW(schedules.of(shape), InvalidArgument);
}

}  // namespace
}  // namespace timepipe
