#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "parallel/schedule.h"

namespace timepipe {

// What a step costs when every rank runs its list from top to bottom.
struct Timeline {
  int64_t makespan = 0;
  std::vector<int64_t> busy;        // per rank, sum of its prices
  std::vector<int64_t> peak_slabs;  // per rank, slabs held at once
  std::vector<int64_t> bytes_sent;  // per rank
  // Work of the step over ranks * makespan.
  double efficiency() const;
};

// How long a message takes from its send to its arrival.
using MessageDelay = std::function<int64_t(int rank, const Operation& send)>;

// What messages do to others of their lane.
enum class LaneRule : uint8_t {
  kFree,     // nothing: each travels from its send on
  kHolding,  // a message holds its lane, from one rank to one other, until its
             // receive is posted and it has arrived; only then the next begins
  kOneOutstanding,  // so it does, and the same lane to other ranks at its
                    // sender and from other ranks at its receiver
};

// Runs the lists on virtual ranks: a compute operation advances its rank's time
// by its price, a message carries its sender's time plus `delay` (default:
// shape.message_price); unless lanes are free, it begins when its receive is
// posted and its lane is free, and takes `delay` from then. No message holds up
// work but that which reads it. Exact and deterministic; needs no cores. Throws
// InvalidArgument that names rank and operation if the lists deadlock, have a
// lane whose receives aren't in the order of its sends, use a border that was
// never produced, leave a message unread, or use a slab that is held by another
// chunk.
Timeline run_virtual_clock(const ScheduleShape& shape,
                           const std::vector<OperationList>& lists,
                           const MessageDelay& delay = {},
                           LaneRule rule = LaneRule::kFree);

}  // namespace timepipe
