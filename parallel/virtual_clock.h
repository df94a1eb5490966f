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

// Runs the lists on virtual ranks: a compute operation advances its rank's time
// by its price, a message carries its sender's time plus `delay` (default:
// shape.message_price). Exact and deterministic; needs no cores. Throws
// InvalidArgument that names rank and operation if the lists deadlock, use a
// border that was never produced, leave a message unread, or use a slab that
// is held by another chunk.
Timeline run_virtual_clock(const ScheduleShape& shape,
                           const std::vector<OperationList>& lists,
                           const MessageDelay& delay = {});

}  // namespace timepipe
