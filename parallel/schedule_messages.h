#pragma once

#include <vector>

#include "parallel/schedule.h"

namespace timepipe {

// Completes lists of computes and sends, as simulated, by the receives, and
// numbers the messages of each lane.
//
// Where a receive stands: before the compute that precedes the one that reads
// it, so that the transfer has the time of one operation; if there is none
// before, at the top; and no later than the next receive of its lane.
//
// This adds no deadlock, even if a message holds its lane at both ends until it
// has arrived. A message arrives when it and all before it on its lane are sent
// and their receives are posted. Those before it are sent before it and, by the
// last rule, received before it. So it waits for its own send and its own
// receive alone, which stands above its reader: for nothing that its reader
// doesn't wait for anyway.
void add_messages(const ScheduleShape& shape,
                  std::vector<OperationList>& lists);

}  // namespace timepipe
