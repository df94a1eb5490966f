#include "tests/parallel/exchange_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <utility>

#include "parallel/exchange.h"
#include "tests/parallel/message_checks.h"

namespace timepipe::testing {
namespace {

constexpr int64_t kUnbufferedNumbers = kUnbuffered / 8;

// Between all pairs at once, on all lanes, received in another order of lanes
// than sent and waited for from last to first; sizes from nothing to more than
// a transport buffers.
void messages_of_all_lanes(Station& at) {
  const std::vector<int64_t> sizes = {0, 1, 500, 0, kUnbufferedNumbers, 2};
  const auto seed = [](Lane lane, int64_t i, int rank) {
    return 100 * rank + 10 * static_cast<int>(lane) + i;
  };
  std::vector<Expected> expected;
  for (const int peer : other_ranks(at.comm)) {
    for (const Lane lane : kAllLanes) {
      for (int32_t i = 0; i < std::ssize(sizes); ++i) {
        at.exchange->send(
            tensor_of(at.ctx, numbers(sizes[i], seed(lane, i, at.comm.rank()))),
            peer, state_tag(i, lane));
      }
    }
    for (const Lane lane : {Lane::kCarried, Lane::kForward, Lane::kGradient}) {
      for (int32_t i = 0; i < std::ssize(sizes); ++i) {
        expected.push_back(expect(at, peer, state_tag(i, lane),
                                  numbers(sizes[i], seed(lane, i, peer))));
      }
    }
  }
  while (!expected.empty()) {
    expected.back().check(at.ctx);
    expected.pop_back();
  }
  at.exchange->finish();
}

void many_messages_keep_their_order(Station& at) {
  if (at.alone()) return;
  constexpr int32_t kMessages = 300;
  std::vector<Expected> expected;
  for (int32_t i = 0; i < kMessages; ++i) {
    for (const Lane lane : kAllLanes) {
      at.exchange->send(tensor_of(at.ctx, {i, static_cast<int>(lane)}),
                        at.right(), state_tag(i, lane));
    }
  }
  for (const Lane lane : kAllLanes) {
    for (int32_t i = 0; i < kMessages; ++i) {
      expected.push_back(expect(at, at.left(), state_tag(i, lane),
                                {i, static_cast<int>(lane)}));
    }
  }
  for (Expected& message : expected) message.check(at.ctx);
  at.exchange->finish();
}

// Every rank waits for a gradient before it sends the state that another one
// has been receiving since before.
void a_receive_holds_up_no_other_lane(Station& at) {
  if (at.alone()) return;
  const std::vector<int64_t> state = numbers(kUnbufferedNumbers, 1),
                             gradient = numbers(kUnbufferedNumbers, 2);
  std::vector<Expected> states;
  for (const int32_t chunk : {1, 2}) {
    states.push_back(expect(at, at.left(), state_tag(chunk), state));
  }
  at.exchange->send(tensor_of(at.ctx, gradient), at.left(),
                    state_tag(1, Lane::kGradient));
  expect(at, at.right(), state_tag(1, Lane::kGradient), gradient).check(at.ctx);
  for (const int32_t chunk : {1, 2}) {
    at.exchange->send(tensor_of(at.ctx, state), at.right(), state_tag(chunk));
  }
  for (Expected& message : states) message.check(at.ctx);
  at.exchange->finish();
}

// What was sent is what the tensor held, though its handle is gone.
void tensors_are_kept_until_sent(Station& at) {
  if (at.alone()) return;
  const std::vector<int64_t> values = numbers(kUnbufferedNumbers, 3);
  at.exchange->send(tensor_of(at.ctx, values), at.right(), state_tag(0));
  const Tensor other = tensor_of(at.ctx, numbers(kUnbufferedNumbers, 4));
  expect(at, at.left(), state_tag(0), values).check(at.ctx);
  at.exchange->finish();
}

void bytes_sent_counts_payload(Station& at) {
  EXPECT_EQ(at.exchange->bytes_sent(), 0);
  std::vector<Expected> expected;
  for (const int peer : other_ranks(at.comm)) {
    for (const int32_t size : {125, 0}) {
      at.exchange->send(tensor_of(at.ctx, numbers(size, 0)), peer,
                        state_tag(size));
      expected.push_back(expect(at, peer, state_tag(size), numbers(size, 0)));
    }
  }
  EXPECT_EQ(at.exchange->bytes_sent(), 1000 * (at.comm.size() - 1));
  for (Expected& message : expected) message.check(at.ctx);
  at.exchange->finish();
}

void names_misplaced_messages(Station& at) {
  if (at.comm.rank() == 0) {
    for (const int peer : other_ranks(at.comm)) {
      at.exchange->send(tensor_of(at.ctx, {1}), peer, state_tag(4));
    }
    at.exchange->finish();
    return;
  }
  Expected third = expect(at, 0, state_tag(3), {1});
  EXPECT_EQ(
      text_thrown<Misplaced>([&] { third.arrival.wait(); }),
      "state of layer 2, chunk 3, micro-batch 0 from rank 0: message 4 of "
      "its lane came, expected message 3");
}

void names_both_sizes(Station& at) {
  const Tag tag = state_tag(3, Lane::kCarried);
  if (at.comm.rank() == 0) {
    for (const int peer : other_ranks(at.comm)) {
      at.exchange->send(tensor_of(at.ctx, {1}), peer, tag);
    }
    at.exchange->finish();
    return;
  }
  Expected longer = expect(at, 0, tag, {1, 2});
  EXPECT_EQ(
      text_thrown<InvalidArgument>([&] { longer.arrival.wait(); }),
      "state of layer 2, chunk 3, micro-batch 0 from rank 0: 8 bytes sent, "
      "16 expected");
}

void refuses_what_cannot_be_sent(Station& at) {
  const Tensor t = tensor_of(at.ctx, {1});
  for (const int peer : {at.comm.rank(), -1, at.comm.size()}) {
    EXPECT_THAT(text_thrown<InvalidArgument>(
                    [&] { at.exchange->send(t, peer, state_tag(4)); }),
                HasSubstr("state of layer 2, chunk 4, micro-batch 0: peer " +
                          std::to_string(peer)));
    EXPECT_THROW(at.exchange->receive(t, peer, state_tag(4)), InvalidArgument);
  }
  const std::vector<int64_t> ones(at.comm.size(), 1);
  Tensor f64 = at.ctx.allocate({at.comm.size()}, DType::kF64);
  Tensor one = f64.slice(0, 1), i64 = t;
  EXPECT_THROW(at.exchange->reduce_scatter_sum(f64, ones, i64),
               InvalidArgument);
  EXPECT_THROW(at.exchange->all_gather(i64, ones, f64), InvalidArgument);
  Tensor more = at.ctx.allocate({at.comm.size() + 1}, DType::kF64);
  EXPECT_THROW(at.exchange->all_gather(one, ones, more), InvalidArgument);
  EXPECT_THROW(at.exchange->all_gather(more, ones, f64), InvalidArgument);
  EXPECT_EQ(at.exchange->bytes_sent(), 0);
  at.exchange->finish();  // nothing is left of them
}

// The same on all ranks; a third of them 0.
std::vector<int64_t> random_counts(std::mt19937_64& random, int ranks) {
  std::vector<int64_t> counts(ranks);
  for (int64_t& count : counts) {
    count = random() % 3 == 0 ? 0 : static_cast<int64_t>(random() % 2000);
  }
  return counts;
}

void sums_are_plain_sums(Station& at) {
  std::mt19937_64 random(5);
  const int rank = at.comm.rank(), ranks = at.comm.size();
  for (int round = 0; round < 8; ++round) {
    const std::vector<int64_t> counts = random_counts(random, ranks);
    const int64_t n = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    const int64_t begin =
        std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
    std::vector<int64_t> mine, sum(counts[rank]);
    for (int r = 0; r < ranks; ++r) {
      for (int64_t i = 0; i < n; ++i) {  // all 64 bits, without overflow
        const int64_t addend = static_cast<int64_t>(random()) / 8;
        if (r == rank) mine.push_back(addend);
        if (i >= begin && i < begin + counts[rank]) sum[i - begin] += addend;
      }
    }
    Tensor out = tensor_of(at.ctx, std::vector<int64_t>(counts[rank], -1));
    const Tensor in = tensor_of(at.ctx, mine);
    at.exchange->reduce_scatter_sum(in, counts, out);
    EXPECT_EQ(values_of(at.ctx, out), sum) << "round " << round;
    Tensor own = in.slice(begin, begin + counts[rank]);
    at.exchange->reduce_scatter_sum(in, counts, own);
    EXPECT_EQ(values_of(at.ctx, own), sum) << "in place, round " << round;
  }
}

void gathers_pieces_in_the_order_of_ranks(Station& at) {
  std::mt19937_64 random(6);
  const int rank = at.comm.rank(), ranks = at.comm.size();
  for (int round = 0; round < 8; ++round) {
    const std::vector<int64_t> counts = random_counts(random, ranks);
    std::vector<int64_t> expected;
    int64_t begin = 0;
    for (int r = 0; r < ranks; ++r) {
      if (r == rank) begin = std::ssize(expected);
      for (const int64_t x : numbers(counts[r], r)) expected.push_back(x);
    }
    const Tensor own = tensor_of(at.ctx, numbers(counts[rank], rank));
    const std::vector<int64_t> blank(expected.size(), -1);
    Tensor all = tensor_of(at.ctx, blank), in_place = tensor_of(at.ctx, blank);
    at.exchange->all_gather(own, counts, all);
    EXPECT_EQ(values_of(at.ctx, all), expected) << "round " << round;
    const Tensor piece = in_place.slice(begin, begin + counts[rank]);
    copy(at.ctx, own, piece);
    at.exchange->all_gather(piece, counts, in_place);
    EXPECT_EQ(values_of(at.ctx, in_place), expected) << "round " << round;
  }
}

// Rank 0 goes on to the collective, the others need its message before.
void messages_move_during_collectives(Station& at) {
  const std::vector<int64_t> values = numbers(kUnbufferedNumbers, 1);
  if (at.comm.rank() == 0) {
    for (const int peer : other_ranks(at.comm)) {
      at.exchange->send(tensor_of(at.ctx, values), peer, state_tag(1));
    }
  } else {
    expect(at, 0, state_tag(1), values).check(at.ctx);
  }
  const std::vector<int64_t> ones(at.comm.size(), 1);
  Tensor out = at.ctx.allocate({at.comm.size()}, DType::kI64);
  at.exchange->all_gather(tensor_of(at.ctx, {at.comm.rank()}), ones, out);
  EXPECT_EQ(values_of(at.ctx, out).back(), at.comm.size() - 1);
  at.exchange->finish();
}

// All but rank 0 wait in vain with `wait`, then tell rank 0, which does `then`.
template <class Wait, class Then>
void expect_blocked(Station& at, const std::string& waited_for, Wait&& wait,
                    Then&& then) {
  const Tag told = state_tag(9, Lane::kCarried);
  set_current_step(3);
  if (at.comm.rank() == 0) {
    for (const int peer : other_ranks(at.comm)) {
      expect(at, peer, told, {}).check(at.ctx);
    }
    then();
  } else {
    at.comm.set_timeout(kShort);
    EXPECT_EQ(text_thrown<Blocked>(wait),
              "rank " + std::to_string(at.comm.rank()) +
                  ", step 3: waited 0.2 s for " + waited_for);
    at.comm.set_timeout(kPatience);
    at.exchange->send(tensor_of(at.ctx, {}), 0, told);
    wait();
  }
  at.exchange->finish();
}

void blocked_receive_is_named(Station& at) {
  Expected state;
  if (at.comm.rank() > 0) state = expect(at, 0, state_tag(5), {8});
  expect_blocked(
      at, "state of layer 2, chunk 5, micro-batch 0 from rank 0",
      [&] { state.check(at.ctx); },
      [&] {
        for (const int peer : other_ranks(at.comm)) {
          at.exchange->send(tensor_of(at.ctx, {8}), peer, state_tag(5));
        }
      });
}

// Of two that rank 0 doesn't take, the first.
void oldest_blocked_send_is_named(Station& at) {
  const std::vector<int64_t> values = numbers(kUnbufferedNumbers, 6);
  for (const int32_t chunk : {6, 5}) {
    if (at.comm.rank() == 0) break;
    at.exchange->send(tensor_of(at.ctx, values), 0,
                      state_tag(chunk, Lane::kGradient));
  }
  expect_blocked(
      at, "rank 0 to take gradient of state of layer 2, chunk 6, micro-batch 0",
      [&] { at.exchange->finish(); },
      [&] {
        for (const int peer : other_ranks(at.comm)) {
          for (const int32_t chunk : {6, 5}) {
            expect(at, peer, state_tag(chunk, Lane::kGradient), values)
                .check(at.ctx);
          }
        }
      });
}

// The deadline is one of waiting: a message may come as late as it is computed.
void computing_is_no_waiting(Station& at) {
  if (at.alone()) return;
  at.comm.set_timeout(0);
  Expected state = expect(at, at.left(), state_tag(5), {8});
  at.exchange->progress();
  at.comm.set_timeout(kPatience);
  at.exchange->send(tensor_of(at.ctx, {8}), at.right(), state_tag(5));
  state.check(at.ctx);
  at.exchange->finish();
}

}  // namespace

void PrintTo(const ExchangeCheck& check, std::ostream* out) {
  *out << check.name << check.kind;
}

std::vector<ExchangeKind> exchange_kinds() {
  std::vector<ExchangeKind> kinds = {{"Staged", make_staged_exchange}};
  if (test_device() == Device{}) kinds.push_back({"Host", make_host_exchange});
  return kinds;
}

std::vector<ExchangeCheck> exchange_checks() {
  std::vector<ExchangeCheck> checks;
  for (const ExchangeKind& kind : exchange_kinds()) {
    const auto add = [&](const char* name, void (*run)(Station&)) {
      checks.push_back({name, run, kind.name, kind.make});
    };
    add("MessagesOfAllLanes", messages_of_all_lanes);
    add("ManyMessagesKeepTheirOrder", many_messages_keep_their_order);
    add("AReceiveHoldsUpNoOtherLane", a_receive_holds_up_no_other_lane);
    add("TensorsAreKeptUntilSent", tensors_are_kept_until_sent);
    add("BytesSentCountsPayload", bytes_sent_counts_payload);
    add("NamesMisplacedMessages", names_misplaced_messages);
    add("NamesBothSizes", names_both_sizes);
    add("RefusesWhatCannotBeSent", refuses_what_cannot_be_sent);
    add("SumsArePlainSums", sums_are_plain_sums);
    add("GathersPiecesInTheOrderOfRanks", gathers_pieces_in_the_order_of_ranks);
    add("MessagesMoveDuringCollectives", messages_move_during_collectives);
    add("BlockedReceiveIsNamed", blocked_receive_is_named);
    add("OldestBlockedSendIsNamed", oldest_blocked_send_is_named);
    add("ComputingIsNoWaiting", computing_is_no_waiting);
  }
  return checks;
}

}  // namespace timepipe::testing
