#pragma once

#include <string>

#include "launcher/config/config.h"
#include "launcher/trainer/memory_plan.h"

namespace timepipe {

// What a run is before it starts, in lines: the model's parameters, a step and
// how it is dealt to ranks, a rank's memory.
std::string banner(const RunConfig& config, const MemoryPlan& memory);

}  // namespace timepipe
