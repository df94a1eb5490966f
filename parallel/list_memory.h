#pragma once

#include <cstdint>

#include "parallel/schedule.h"

namespace timepipe {

// What running a rank's list of operations needs at most, read off the list.
struct ListMemory {
  // Of borders and their gradients, those on their way out included. A message
  // is taken to be gone once more were sent after it than belong to a visit: by
  // then this rank has what its neighbour made of it.
  int64_t border_bytes = 0;
  // Blocks, each on one chunk, that are between the backward passes of kOutput
  // and kConv at a time.
  int64_t open_backwards = 0;
};

ListMemory list_memory(const ScheduleShape& shape, int rank,
                       const OperationList& operations);

}  // namespace timepipe
