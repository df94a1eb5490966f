#include "tests/parallel/message_checks.h"

#include <limits>
#include <thread>

namespace timepipe::testing {

std::vector<std::byte> pattern(int64_t size, int64_t seed) {
  std::vector<std::byte> bytes(size);
  for (int64_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i + i / 251 + 31 * seed) % 256);
  }
  return bytes;
}

std::vector<int> other_ranks(const Communicator& comm) {
  std::vector<int> ranks;
  for (int rank = 0; rank < comm.size(); ++rank) {
    if (rank != comm.rank()) ranks.push_back(rank);
  }
  return ranks;
}

void wait_by_polling(Communicator& comm, Request& request) {
  while (!request.test()) {
    comm.transport().progress();
    std::this_thread::yield();
  }
}

void ring_of_messages(Communicator& comm) {
  constexpr int kChunks = 23;
  const auto rank_of = [&](int chunk) { return chunk % comm.size(); };
  for (const Lane lane : {Lane::kForward, Lane::kGradient, Lane::kCarried}) {
    for (int i = 1; i < kChunks; ++i) {
      const bool gradient = lane == Lane::kGradient;
      const int chunk = gradient ? kChunks - i : i;
      const int from = rank_of(gradient ? chunk : chunk - 1);
      const int to = rank_of(gradient ? chunk - 1 : chunk);
      const Tag tag = state_tag(chunk, lane);
      const std::vector<std::byte> sent = pattern(100, i);
      std::vector<std::byte> received(100);
      if (from == to) continue;
      if (comm.rank() == from) comm.transport().isend(sent, to, tag).wait();
      if (comm.rank() == to) {
        comm.transport().irecv(received, from, tag).wait();
        EXPECT_EQ(received, sent);
      }
      comm.transport().progress();
    }
  }
}

void lanes_are_apart(Communicator& comm) {
  const std::vector<int64_t> sizes = {0, 1, 4000, 0, kUnbuffered, 17};
  const auto n = std::ssize(sizes);
  std::vector<std::vector<std::byte>> sent, received;
  std::vector<Request> requests;
  sent.reserve(2 * n * comm.size());
  received.reserve(2 * n * comm.size());
  const auto seed = [](int64_t i, Lane lane, int rank) {
    return i + 7 * static_cast<int64_t>(lane) + 30 * rank;
  };
  for (const int peer : other_ranks(comm)) {
    for (const Lane lane : {Lane::kForward, Lane::kGradient, Lane::kCarried}) {
      for (int32_t i = 0; i < n; ++i) {
        sent.push_back(pattern(sizes[i], seed(i, lane, comm.rank())));
        requests.push_back(
            comm.transport().isend(sent.back(), peer, state_tag(i, lane)));
      }
    }
    for (const Lane lane : {Lane::kCarried, Lane::kGradient, Lane::kForward}) {
      for (int32_t i = 0; i < n; ++i) {
        received.emplace_back(sizes[i]);
        requests.push_back(
            comm.transport().irecv(received.back(), peer, state_tag(i, lane)));
      }
    }
  }
  for (Request& request : requests) request.wait();
  std::size_t next = 0;
  for (const int peer : other_ranks(comm)) {
    for (const Lane lane : {Lane::kCarried, Lane::kGradient, Lane::kForward}) {
      for (int64_t i = 0; i < n; ++i) {
        EXPECT_EQ(received[next++], pattern(sizes[i], seed(i, lane, peer)));
      }
    }
  }
}

void any_depth_and_length_fit(Communicator& comm) {
  const int32_t most = std::numeric_limits<int32_t>::max();
  std::vector<std::byte> received(64);
  for (const int64_t number :
       {int64_t{0}, kMessageNumbers - 1, kMessageNumbers, kMessageNumbers + 7,
        std::numeric_limits<int64_t>::max()}) {
    for (const Lane lane : {Lane::kForward, Lane::kGradient, Lane::kCarried}) {
      const Tag tag{Border::kState, lane, most, most, most, number};
      for (const int peer : other_ranks(comm)) {
        const std::vector<std::byte> sent = pattern(64, number % 1000);
        Request receive = comm.transport().irecv(received, peer, tag);
        comm.transport().isend(sent, peer, tag).wait();
        receive.wait();
        EXPECT_EQ(received, sent);
      }
    }
  }
}

void names_misplaced_messages(Communicator& comm) {
  const auto text = [](int32_t chunk, Lane lane, int64_t came) {
    return std::string(lane == Lane::kGradient ? "gradient of " : "") +
           "state of layer 2, chunk " + std::to_string(chunk) +
           ", micro-batch 0 from rank 0: message " + std::to_string(came) +
           " of its lane came, expected message " + std::to_string(chunk);
  };
  for (const Lane lane : {Lane::kForward, Lane::kGradient, Lane::kCarried}) {
    for (const int64_t size : {int64_t{0}, int64_t{100}, kUnbuffered}) {
      // The second pair is around the first number that repeats.
      for (const int32_t first : {3, int32_t{kMessageNumbers} - 1}) {
        const Tag a = state_tag(first, lane);
        const Tag b = state_tag(first + 1, lane);
        std::vector<std::byte> one(size), two(size);
        std::vector<Request> requests;
        if (comm.rank() == 0) {
          for (const int peer : other_ranks(comm)) {
            requests.push_back(comm.transport().isend(one, peer, b));
            requests.push_back(comm.transport().isend(two, peer, a));
          }
          for (Request& request : requests) request.wait();
        } else {
          requests.push_back(comm.transport().irecv(one, 0, a));
          requests.push_back(comm.transport().irecv(two, 0, b));
          EXPECT_EQ(text_thrown<Misplaced>([&] { requests[0].wait(); }),
                    text(first, lane, first + 1));
          EXPECT_EQ(text_thrown<Misplaced>([&] { requests[1].wait(); }),
                    text(first + 1, lane, first));
        }
      }
    }
  }
}

void equal_tags_arrive_in_order(Communicator& comm) {
  const Tag tag = state_tag(1);
  const std::vector<std::byte> first = pattern(64, 1), second = pattern(64, 2);
  for (const int peer : other_ranks(comm)) {
    std::vector<std::byte> a(64), b(64);
    std::vector<Request> requests;
    requests.push_back(comm.transport().irecv(a, peer, tag));
    requests.push_back(comm.transport().irecv(b, peer, tag));
    requests.push_back(comm.transport().isend(first, peer, tag));
    requests.push_back(comm.transport().isend(second, peer, tag));
    for (Request& request : requests) request.wait();
    EXPECT_EQ(a, first);
    EXPECT_EQ(b, second);
  }
}

void large_messages(Communicator& comm) {
  constexpr int64_t kSize = 10'000'000;
  const int n = comm.size(), rank = comm.rank();
  const int left = (rank + n - 1) % n, right = (rank + 1) % n;
  if (n == 1) return;  // nobody is beside it
  const auto message = [](int source) {
    std::vector<std::byte> bytes(kSize, static_cast<std::byte>(source));
    bytes.back() = std::byte{99};
    return bytes;
  };
  const std::vector<std::byte> sent = message(rank);
  std::vector<std::byte> received(kSize);
  Request receive = comm.transport().irecv(received, left, state_tag(0));
  Request send = comm.transport().isend(sent, right, state_tag(0));
  wait_by_polling(comm, receive);
  send.wait();
  EXPECT_TRUE(received == message(left));
}

void refuses_bad_peers(Communicator& comm) {
  std::vector<std::byte> bytes(8);
  for (const int peer : {comm.rank(), -1, comm.size()}) {
    EXPECT_THAT(text_thrown<InvalidArgument>(
                    [&] { comm.transport().isend(bytes, peer, state_tag(4)); }),
                HasSubstr("state of layer 2, chunk 4, micro-batch 0: peer " +
                          std::to_string(peer)));
    EXPECT_THROW(comm.transport().irecv(bytes, peer, state_tag(4)),
                 InvalidArgument);
  }
}

void names_both_sizes_if_they_differ(Communicator& comm) {
  for (const auto& [size, expected] : {std::pair<int64_t, int64_t>{0, 16},
                                       {8, 16},
                                       {24, 16},
                                       {2000, 16},
                                       {16, 0},
                                       {kUnbuffered, 2 * kUnbuffered}}) {
    const std::vector<std::byte> sent = pattern(size, 0);
    if (comm.rank() == 0) {
      for (const int peer : other_ranks(comm)) {
        comm.transport().isend(sent, peer, state_tag(3)).wait();
      }
    } else {
      std::vector<std::byte> received(expected);
      Request receive = comm.transport().irecv(received, 0, state_tag(3));
      EXPECT_EQ(text_thrown<InvalidArgument>([&] { receive.wait(); }),
                "state of layer 2, chunk 3, micro-batch 0 from rank 0: " +
                    std::to_string(size) + " bytes sent, " +
                    std::to_string(expected) + " expected");
    }
  }
  equal_tags_arrive_in_order(comm);  // it still works
}

void blocked_names_ranks_of_the_world(Communicator& comm) {
  const auto pair = comm.split(comm.rank() / 2);
  std::vector<std::byte> state(100), nothing;
  set_current_step(4);
  if (pair->rank() == 1) {
    pair->set_timeout(kShort);
    Request receive = pair->transport().irecv(state, 0, state_tag(5));
    comm.set_timeout(kPatience);  // one deadline for a group and its splits
    EXPECT_EQ(text_thrown<Blocked>([&] { receive.wait(); }),
              "rank " + std::to_string(comm.rank()) +
                  ", step 4: waited 0.2 s for state of layer 2, chunk 5, "
                  "micro-batch 0 from rank " +
                  std::to_string(comm.rank() - 1));
    pair->transport().isend(nothing, 0, state_tag(0)).wait();
    wait_by_polling(*pair, receive);
    EXPECT_EQ(state, pattern(100, 0));
  } else if (pair->size() == 2) {
    pair->transport().irecv(nothing, 1, state_tag(0)).wait();
    pair->transport().isend(pattern(100, 0), 1, state_tag(5)).wait();
  }
}

void blocked_receive_tells_what_it_waited_for(Communicator& comm) {
  std::vector<std::byte> state(10);
  expect_blocked(comm, "state of layer 2, chunk 5, micro-batch 0 from rank 0",
                 [&] {
                   std::vector<Request> requests;
                   for (const int peer : other_ranks(comm)) {
                     if (comm.rank() == 0) {
                       requests.push_back(
                           comm.transport().isend(state, peer, state_tag(5)));
                     } else if (peer == 0) {
                       requests.push_back(
                           comm.transport().irecv(state, peer, state_tag(5)));
                     }
                   }
                   return requests;
                 });
}

void blocked_send_tells_what_it_waited_for(Communicator& comm) {
  const std::vector<std::byte> sent = pattern(kUnbuffered, 0);
  std::vector<std::vector<std::byte>> received(comm.size());
  expect_blocked(
      comm,
      "rank 0 to take gradient of state of layer 2, chunk 5, micro-batch 0",
      [&] {
        std::vector<Request> requests;
        for (const int peer : other_ranks(comm)) {
          if (comm.rank() == 0) {
            received[peer].resize(kUnbuffered);
            requests.push_back(comm.transport().irecv(
                received[peer], peer, state_tag(5, Lane::kGradient)));
          } else if (peer == 0) {
            requests.push_back(comm.transport().isend(
                sent, peer, state_tag(5, Lane::kGradient)));
          }
        }
        return requests;
      });
}

}  // namespace timepipe::testing
