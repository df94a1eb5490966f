// Texts and checks of messages and collectives.

#include "parallel/transport.h"

#include <numeric>

namespace timepipe {
namespace {

void require_equal(const char* name, int64_t value, int64_t expected) {
  require(value == expected, name, ": ", value, ", expected ", expected);
}

int64_t sum_of_counts(int64_t ranks, std::span<const int64_t> counts) {
  require_equal("counts: number of ranks", std::ssize(counts), ranks);
  for (const int64_t count : counts) {
    require(count >= 0, "counts: ", count, ", expected >= 0");
  }
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

}  // namespace

std::string describe_send(Tag tag, int peer) {
  return "rank " + std::to_string(peer) + " to take " + tag.to_string();
}

std::string describe_receive(Tag tag, int peer) {
  return tag.to_string() + " from rank " + std::to_string(peer);
}

std::string describe_collective(const std::string& name) {
  return "all ranks in " + name;
}

void require_received(Tag tag, int peer, int64_t size, int came_number,
                      int64_t came_size) {
  // Of all numbers that are sent as this, the nearest to the expected one.
  constexpr int64_t kHalf = kMessageNumbers / 2;
  const int64_t ahead =
      (came_number - wire_number(tag) + kMessageNumbers + kHalf) %
          kMessageNumbers -
      kHalf;
  if (ahead != 0) throw Misplaced(tag, peer, tag.number + ahead);
  require(came_size == size, describe_receive(tag, peer), ": ", came_size,
          " bytes sent, ", size, " expected");
}

void require_peer(int rank, int64_t ranks, int peer, Tag tag) {
  require(peer >= 0 && peer < ranks && peer != rank, tag.to_string(), ": peer ",
          peer, ", expected another rank than ", rank, " of ", ranks);
}

void require_reduce_scatter(int rank, int64_t ranks,
                            std::span<const int64_t> in,
                            std::span<const int64_t> counts,
                            std::span<int64_t> out) {
  const int64_t total = sum_of_counts(ranks, counts);
  require_equal("reduce_scatter_sum: elements of in", std::ssize(in), total);
  require_equal("reduce_scatter_sum: elements of out", std::ssize(out),
                counts[rank]);
}

void require_all_gather(int rank, int64_t ranks, ConstBytes in,
                        std::span<const int64_t> counts, Bytes out) {
  const int64_t total = sum_of_counts(ranks, counts);
  require_equal("all_gather: bytes of in", std::ssize(in), counts[rank]);
  require_equal("all_gather: bytes of out", std::ssize(out), total);
}

std::vector<int> ranks_of_color(Communicator& group, int color) {
  std::vector<int> colors(group.size());
  const std::vector<int64_t> counts(group.size(), sizeof color);
  group
      .all_gather(std::as_bytes(std::span(&color, 1)), counts,
                  std::as_writable_bytes(std::span(colors)))
      .wait();
  std::vector<int> ranks;
  for (int rank = 0; rank < group.size(); ++rank) {
    if (colors[rank] == color) ranks.push_back(rank);
  }
  return ranks;
}

}  // namespace timepipe
