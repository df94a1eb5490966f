// Run under mpirun; the argument is the number of ranks that it starts. All
// ranks run all tests in the same order.

#include <gtest/gtest.h>

#include <string>

#include "parallel/communicator.h"
#include "tests/parallel/communicator_checks.h"

namespace timepipe {
namespace {

using testing::communicator_checks;
using testing::CommunicatorCheck;

Communicator* world = nullptr;
int expected_ranks = 0;

class MpiRanks : public ::testing::TestWithParam<CommunicatorCheck> {};

TEST_P(MpiRanks, Check) { GetParam().run(*world); }

INSTANTIATE_TEST_SUITE_P(
    Communicator, MpiRanks, ::testing::ValuesIn(communicator_checks()),
    [](const ::testing::TestParamInfo<CommunicatorCheck>& info) {
      return info.param.name;
    });

TEST(MpiCommunicatorTest, HasAllRanks) {
  EXPECT_EQ(world->size(), expected_ranks);
  EXPECT_EQ(started_by_mpi(), expected_ranks > 1);
}

TEST(MpiCommunicatorTest, StartsOncePerProcess) {
  EXPECT_THROW(make_mpi_communicator(nullptr, nullptr), InvalidArgument);
}

}  // namespace
}  // namespace timepipe

int main(int argc, char** argv) {
  const auto communicator = timepipe::make_mpi_communicator(&argc, &argv);
  ::testing::InitGoogleTest(&argc, argv);
  // What is thrown ends this rank and so all: its tests would be out of step.
  GTEST_FLAG_SET(catch_exceptions, false);
  timepipe::world = communicator.get();
  timepipe::expected_ranks = std::stoi(argv[1]);
  return RUN_ALL_TESTS();
}
