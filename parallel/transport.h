#pragma once

// Bytes of the host from rank to rank, and what the transports share: texts of
// what is waited for, checks of arguments. Private to parallel/.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace timepipe {

inline constexpr double kDefaultTimeoutSeconds = 60;

class Transport {
 public:
  virtual ~Transport() = default;

  // The bytes stay untouched until the request is complete.
  virtual Request isend(ConstBytes bytes, int peer, Tag tag) = 0;
  // Into their final place. The messages of one lane from one rank to another
  // arrive in the order in which they were sent, whatever their tags: receives
  // are posted in that order. The numbers of both sides must agree, else the
  // receiver's wait throws Misplaced; their sizes too, else it throws
  // InvalidArgument. Open MPI may have written past the end by then. Throws
  // InvalidArgument if `peer` is this rank.
  virtual Request irecv(Bytes bytes, int peer, Tag tag) = 0;

  // out = this rank's piece of the sum over ranks of `in`, which is cut into
  // size() pieces of counts[r] elements (their sum is in.size()). `out` may be
  // its own piece of `in`. Integer sums: exact, whatever the order. One at a
  // time.
  virtual Request reduce_scatter_sum(std::span<const int64_t> in,
                                     std::span<const int64_t> counts,
                                     std::span<int64_t> out) = 0;

  // Lets messages move; call between operations.
  virtual void progress() = 0;
};

// Request::Impl::describe(); `peer` is a rank of the world.
std::string describe_send(Tag tag, int peer);
std::string describe_receive(Tag tag, int peer);
std::string describe_collective(const std::string& name);

// What is sent of a tag.
inline int wire_number(Tag tag) {
  return static_cast<int>(tag.number % kMessageNumbers);
}

// Throws Misplaced or InvalidArgument unless the message that came to a receive
// of `tag` and `size` bytes from `peer` has its number and its size.
void require_received(Tag tag, int peer, int64_t size, int came_number,
                      int64_t came_size);

// Throw InvalidArgument before anything is sent.
void require_peer(int rank, int64_t ranks, int peer, Tag tag);
void require_reduce_scatter(int rank, int64_t ranks,
                            std::span<const int64_t> in,
                            std::span<const int64_t> counts,
                            std::span<int64_t> out);
void require_all_gather(int rank, int64_t ranks, ConstBytes in,
                        std::span<const int64_t> counts, Bytes out);

// The ranks of `group` that gave this color, ascending. Collective.
std::vector<int> ranks_of_color(Communicator& group, int color);

}  // namespace timepipe
