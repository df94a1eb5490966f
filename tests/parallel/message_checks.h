#pragma once

// Checks of messages between ranks, and what all checks of communicators use;
// see communicator_checks.h.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport.h"
#include "parallel/watchdog.h"

namespace timepipe::testing {

using ::testing::HasSubstr;

constexpr double kPatience = 60, kShort = 0.2;  // seconds
constexpr int64_t kUnbuffered = 300'000;        // bytes: MPI waits for a place

// The message whose number is that of the chunk.
constexpr Tag state_tag(int32_t chunk, Lane lane = Lane::kForward) {
  return {Border::kState, lane, /*micro_batch=*/0, chunk, /*layer=*/2, chunk};
}

// Bytes that tell their place and `seed`.
std::vector<std::byte> pattern(int64_t size, int64_t seed);

std::vector<int> other_ranks(const Communicator& comm);

// With another deadline than the request's own: the test's.
void wait_by_polling(Communicator& comm, Request& request);

// The text of the E that f throws; empty if it throws none.
template <class E, class F>
std::string text_thrown(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

// A message around the ranks, as a state passes through the chunks and its
// gradient comes back.
void ring_of_messages(Communicator& comm);

// Between all pairs at once, one direction received before the other, which is
// sent first; sizes from nothing to more than a transport buffers.
void lanes_are_apart(Communicator& comm);

// Numbers repeat after 2^20.
void any_depth_and_length_fit(Communicator& comm);

// Rank 0 sends two messages of one size in another order than the others
// expect.
void names_misplaced_messages(Communicator& comm);

// As in the next step.
void equal_tags_arrive_in_order(Communicator& comm);

// To the right neighbour in a ring, while the left one's comes.
void large_messages(Communicator& comm);

void refuses_bad_peers(Communicator& comm);

// Not more than a transport buffers: see ReceiveRequest of MPI.
void names_both_sizes_if_they_differ(Communicator& comm);

// Errors name ranks of the world, also in a group of some of them.
void blocked_names_ranks_of_the_world(Communicator& comm);

// All but rank 0 start an operation that rank 0 starts only when they have
// given up; then waiting again succeeds.
template <class Start>
void expect_blocked(Communicator& comm, const std::string& waited_for,
                    Start&& start) {
  std::vector<std::byte> nothing;
  set_current_step(3);
  if (comm.rank() == 0) {
    for (const int peer : other_ranks(comm)) {
      comm.transport().irecv(nothing, peer, state_tag(9)).wait();
    }
    for (Request& request : start()) request.wait();
    return;
  }
  comm.set_timeout(kShort);
  std::vector<Request> requests = start();
  comm.set_timeout(kPatience);
  EXPECT_EQ(text_thrown<Blocked>([&] { requests[0].wait(); }),
            "rank " + std::to_string(comm.rank()) +
                ", step 3: waited 0.2 s for " + waited_for);
  comm.transport().isend(nothing, 0, state_tag(9)).wait();
  wait_by_polling(comm, requests[0]);
}

void blocked_receive_tells_what_it_waited_for(Communicator& comm);

void blocked_send_tells_what_it_waited_for(Communicator& comm);

}  // namespace timepipe::testing
