// Run under mpirun: mpi_communicator_test RANKS [MESSAGE_BYTES
// SUMMED_ELEMENTS], the number of ranks that it starts and the sizes of pieces.
// All ranks run all tests in the same order.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "tests/parallel/communicator_checks.h"
#include "tests/parallel/exchange_checks.h"
#include "tests/parallel/message_checks.h"

namespace timepipe {
namespace {

using testing::communicator_checks;
using testing::CommunicatorCheck;
using testing::exchange_checks;
using testing::ExchangeCheck;
using testing::expect;
using testing::Expected;
using testing::numbers;
using testing::state_tag;
using testing::Station;
using testing::tensor_of;

Communicator* world = nullptr;
int expected_ranks = 0;
MpiPieces pieces;

class MpiRanks : public ::testing::TestWithParam<CommunicatorCheck> {};

TEST_P(MpiRanks, Check) { GetParam().run(*world); }

INSTANTIATE_TEST_SUITE_P(
    Communicator, MpiRanks, ::testing::ValuesIn(communicator_checks()),
    [](const ::testing::TestParamInfo<CommunicatorCheck>& info) {
      return info.param.name;
    });

class ExchangeOfMpi : public ::testing::TestWithParam<ExchangeCheck> {};

TEST_P(ExchangeOfMpi, Check) {
  // A group of its own: what an error leaves under way meets no other test.
  GetParam()(*world->split(0));
}

INSTANTIATE_TEST_SUITE_P(
    Exchange, ExchangeOfMpi, ::testing::ValuesIn(exchange_checks()),
    [](const ::testing::TestParamInfo<ExchangeCheck>& info) {
      return std::string(info.param.name) + info.param.kind;
    });

// To the right neighbour, around the sizes of one and two pieces.
TEST(MpiCommunicatorTest, MessagesOfAnyNumberOfPiecesArrive) {
  const auto group = world->split(0);
  Station at(*group, make_exchange);
  std::vector<Expected> expected;
  const int64_t piece = std::min(pieces.message_bytes, int64_t{1} << 20) / 8;
  for (const int64_t size :
       {piece - 1, piece, piece + 1, 2 * piece - 1, 2 * piece, 2 * piece + 1}) {
    if (at.alone()) break;
    const Tag tag = state_tag(static_cast<int32_t>(expected.size()));
    const std::vector<int64_t> values = numbers(size, world->rank());
    at.exchange->send(tensor_of(at.ctx, values), at.right(), tag);
    expected.push_back(expect(at, at.left(), tag, numbers(size, at.left())));
  }
  for (Expected& message : expected) message.check(at.ctx);
  at.exchange->finish();
}

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
  if (argc > 3 && argv[2][0] != '-') {
    timepipe::pieces = {.message_bytes = std::stoll(argv[2]),
                        .summed_elements = std::stoll(argv[3])};
  }
  const auto communicator =
      timepipe::make_mpi_communicator(&argc, &argv, timepipe::pieces);
  ::testing::InitGoogleTest(&argc, argv);
  // What is thrown ends this rank and so all: its tests would be out of step.
  GTEST_FLAG_SET(catch_exceptions, false);
  timepipe::world = communicator.get();
  timepipe::expected_ranks = std::stoi(argv[1]);
  return RUN_ALL_TESTS();
}
