#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace hostcuda {

// One more launch of the kernel `name` (a string that lives as long as the
// program).
void count_launch(const char* name);

// How often each kernel was launched: all that are registered or counted.
std::map<std::string, int64_t> launch_counts();

// A line "count<TAB>name" for each of them.
std::string launch_lines();

}  // namespace hostcuda
