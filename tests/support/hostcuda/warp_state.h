#pragma once

#include <hostcuda/engine_state.h>

namespace hostcuda {

// The current thread does the operation with the other lanes of the mask; the
// last of them to come does `complete` for all. Orders no accesses, as CUDA's
// shuffles don't.
void join_group(Complete complete, uint32_t mask, const char* operation,
                const Site& site);

}  // namespace hostcuda
