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

// Throw InvalidArgument before anything is sent.
void require_peer(const Communicator& group, int peer, Tag tag);
void require_reduce_scatter(const Communicator& group,
                            std::span<const int64_t> in,
                            std::span<const int64_t> counts,
                            std::span<int64_t> out);
void require_all_gather(const Communicator& group, ConstBytes in,
                        std::span<const int64_t> counts, Bytes out);

// "state of layer ... from rank 0: 8 bytes sent, 16 expected"
std::string size_mismatch(const std::string& what, int64_t sent,
                          int64_t expected);

// The ranks of `group` that gave this color, ascending. Collective.
std::vector<int> ranks_of_color(Communicator& group, int color);

}  // namespace timepipe
