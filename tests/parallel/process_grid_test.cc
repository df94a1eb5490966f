#include "parallel/process_grid.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "tests/parallel/message_checks.h"
#include "tests/support/test_device.h"

namespace timepipe {
namespace {

using ::testing::HasSubstr;
using testing::TestContext;
using testing::text_thrown;

TEST(ProcessGridTest, TimeRanksAreNeighbours) {
  for (const auto& layout :
       {std::pair{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 2}, {2, 3}, {7, 1}}) {
    const int time_ranks = layout.first, data_ranks = layout.second;
    run_thread_ranks(time_ranks * data_ranks, [&](Communicator& world) {
      TestContext ctx;
      const ProcessGrid grid(ctx, world, time_ranks, data_ranks);
      EXPECT_EQ(&grid.world, &world);
      EXPECT_EQ(grid.time_ranks, time_ranks);
      EXPECT_EQ(grid.data_ranks, data_ranks);
      EXPECT_EQ(grid.data_rank * time_ranks + grid.time_rank, world.rank());
      EXPECT_LT(grid.time_rank, time_ranks);
      EXPECT_EQ(grid.time->size(), time_ranks);
      EXPECT_EQ(grid.time->rank(), grid.time_rank);
    });
  }
}

TEST(ProcessGridTest, MessagesStayInTheirPipeline) {
  run_thread_ranks(6, [](Communicator& world) {
    TestContext ctx;
    const ProcessGrid grid(ctx, world, 3, 2);
    const auto mine = static_cast<std::byte>(grid.data_rank);
    for (const int peer : testing::other_ranks(*grid.time)) {
      std::byte theirs{99};
      Request receive = grid.time->transport().irecv(Bytes(&theirs, 1), peer,
                                                     testing::state_tag(0));
      grid.time->transport()
          .isend(ConstBytes(&mine, 1), peer, testing::state_tag(0))
          .wait();
      receive.wait();
      EXPECT_EQ(theirs, mine);
    }
  });
}

TEST(ProcessGridTest, AnotherNumberOfRanksIsRefused) {
  TestContext ctx;
  const auto world = make_self_communicator();
  EXPECT_THAT(
      text_thrown<InvalidArgument>([&] { ProcessGrid(ctx, *world, 2, 3); }),
      HasSubstr("2 x 3, expected a product of 1"));
  for (const auto& [time_ranks, data_ranks] :
       {std::pair{0, 1}, {1, 0}, {-1, -1}, {1, 2}, {65536, 65536}}) {
    EXPECT_THROW(ProcessGrid(ctx, *world, time_ranks, data_ranks),
                 InvalidArgument);
  }
}

}  // namespace
}  // namespace timepipe
