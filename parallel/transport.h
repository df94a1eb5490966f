#pragma once

// What the communicators share: texts of what is waited for, checks of
// arguments. Private to parallel/.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace timepipe {

inline constexpr double kDefaultTimeoutSeconds = 60;

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
void require_peer(const Communicator& group, int peer, Tag tag);
void require_reduce_scatter(const Communicator& group,
                            std::span<const int64_t> in,
                            std::span<const int64_t> counts,
                            std::span<int64_t> out);
void require_all_gather(const Communicator& group, ConstBytes in,
                        std::span<const int64_t> counts, Bytes out);

// The ranks of `group` that gave this color, ascending. Collective.
std::vector<int> ranks_of_color(Communicator& group, int color);

}  // namespace timepipe
