#include "tests/parallel/collective_checks.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "tests/parallel/message_checks.h"

namespace timepipe::testing {
namespace {

// Pieces of uneven length, some of them empty; `shift` deals them out.
std::vector<int64_t> uneven_counts(int ranks, int shift) {
  constexpr int64_t kSizes[] = {0, 5, 1, 1000, 0, 3, 40'000};
  std::vector<int64_t> counts;
  for (int rank = 0; rank < ranks; ++rank) {
    counts.push_back(kSizes[(rank + shift) % 7]);
  }
  return counts;
}

int64_t sum_of(const std::vector<int64_t>& counts, int ranks) {
  return std::accumulate(counts.begin(), counts.begin() + ranks, int64_t{0});
}

// Numbers that need all 64 bits.
int64_t addend(int rank, int64_t i) {
  return (i % 2 == 0 ? 1 : -1) * ((int64_t{1} << 59) + 7919 * i + rank);
}

}  // namespace

void reduce_scatter_is_the_sum(Communicator& comm) {
  for (int shift = 0; shift < 7; ++shift) {
    const std::vector<int64_t> counts = uneven_counts(comm.size(), shift);
    std::vector<int64_t> in(sum_of(counts, comm.size()));
    for (int64_t i = 0; i < std::ssize(in); ++i) in[i] = addend(comm.rank(), i);
    std::vector<int64_t> out(counts[comm.rank()], -1);
    comm.transport().reduce_scatter_sum(in, counts, out).wait();

    std::vector<int64_t> expected(out.size());
    const int64_t begin = sum_of(counts, comm.rank());
    for (int rank = 0; rank < comm.size(); ++rank) {
      for (int64_t i = 0; i < std::ssize(expected); ++i) {
        expected[i] += addend(rank, begin + i);
      }
    }
    EXPECT_EQ(out, expected) << "shift " << shift;

    const std::span<int64_t> own = std::span(in).subspan(begin, out.size());
    comm.transport().reduce_scatter_sum(in, counts, own).wait();
    EXPECT_EQ(std::vector<int64_t>(own.begin(), own.end()), expected)
        << "in place, shift " << shift;
  }
}

void all_gather_concatenates(Communicator& comm) {
  for (int shift = 0; shift < 7; ++shift) {
    const std::vector<int64_t> counts = uneven_counts(comm.size(), shift);
    std::vector<std::byte> expected;
    for (int rank = 0; rank < comm.size(); ++rank) {
      const std::vector<std::byte> piece = pattern(counts[rank], rank);
      expected.insert(expected.end(), piece.begin(), piece.end());
    }
    const std::vector<std::byte> own =
        pattern(counts[comm.rank()], comm.rank());
    std::vector<std::byte> out(expected.size());
    comm.all_gather(own, counts, out).wait();
    EXPECT_EQ(out, expected) << "shift " << shift;

    std::vector<std::byte> in_place(expected.size());
    const Bytes piece = Bytes(in_place).subspan(sum_of(counts, comm.rank()),
                                                counts[comm.rank()]);
    std::copy(own.begin(), own.end(), piece.begin());
    comm.all_gather(piece, counts, in_place).wait();
    EXPECT_EQ(in_place, expected) << "in place, shift " << shift;
  }
}

void collectives_refuse_wrong_sizes(Communicator& comm) {
  const std::vector<int64_t> ones(comm.size(), 1), more(comm.size() + 1, 1);
  std::vector<int64_t> in(comm.size()), out(1), two(2);
  const auto reduce = [&](auto& in, auto& counts, auto& out) {
    comm.transport().reduce_scatter_sum(in, counts, out).wait();
  };
  EXPECT_THROW(reduce(in, more, out), InvalidArgument);
  EXPECT_THROW(reduce(more, ones, out), InvalidArgument);
  EXPECT_THROW(reduce(in, ones, two), InvalidArgument);
  std::vector<std::byte> piece(1), all(comm.size()), other(comm.size() + 1);
  EXPECT_THROW(comm.all_gather(piece, more, all), InvalidArgument);
  EXPECT_THROW(comm.all_gather(other, ones, all), InvalidArgument);
  EXPECT_THROW(comm.all_gather(piece, ones, other), InvalidArgument);
}

void operations_under_way_together(Communicator& comm) {
  const std::vector<int64_t> counts(comm.size(), 1000);
  std::vector<int64_t> in(1000 * comm.size(), comm.rank()), sum(1000);
  std::vector<std::byte> gathered(1000 * comm.size());
  const std::vector<std::byte> own = pattern(1000, comm.rank());
  Request reduce = comm.transport().reduce_scatter_sum(in, counts, sum);
  Request gather = comm.all_gather(own, counts, gathered);
  lanes_are_apart(comm);
  gather.wait();
  reduce.wait();
  const int64_t n = comm.size();
  EXPECT_EQ(sum, std::vector<int64_t>(1000, n * (n - 1) / 2));
  for (int rank = 0; rank < comm.size(); ++rank) {
    EXPECT_EQ(gathered[1000 * rank + 999], pattern(1000, rank)[999]);
  }
}

void split_groups_ranks_of_a_color(Communicator& comm) {
  const int color = comm.rank() % 3 - 1;  // negative ones too
  const auto group = comm.split(color);
  EXPECT_EQ(group->rank(), comm.rank() / 3);
  EXPECT_EQ(group->size(), (comm.size() - comm.rank() % 3 + 2) / 3);
  ring_of_messages(*group);
  reduce_scatter_is_the_sum(*group);
  const auto halves = group->split(group->rank() % 2);
  all_gather_concatenates(*halves);
  lanes_are_apart(comm);  // while the splits are there
}

void blocked_collective_tells_which(Communicator& comm) {
  const std::vector<int64_t> counts(comm.size(), 1), in(comm.size(), 5);
  std::vector<int64_t> out(1);
  expect_blocked(comm, "all ranks in reduce_scatter_sum", [&] {
    std::vector<Request> requests;
    requests.push_back(comm.transport().reduce_scatter_sum(in, counts, out));
    return requests;
  });
  EXPECT_EQ(out[0], 5 * comm.size());
  std::vector<std::byte> all(comm.size());
  const std::vector<std::byte> own = {std::byte{7}};
  expect_blocked(comm, "all ranks in all_gather", [&] {
    std::vector<Request> requests;
    requests.push_back(comm.all_gather(own, counts, all));
    return requests;
  });
  EXPECT_EQ(all, std::vector<std::byte>(comm.size(), std::byte{7}));
}

}  // namespace timepipe::testing
