#pragma once

#include <hostcuda/engine_state.h>

namespace hostcuda {

// The current thread does the operation with the other lanes of the mask; the
// last of them to come does `complete` for all.
void join_group(Complete complete, uint32_t mask, const char* operation,
                const Site& site);
// The same, and what they did before comes before what they do after.
void join_group_in_order(Complete complete, uint32_t mask,
                         const char* operation, const Site& site);

}  // namespace hostcuda
