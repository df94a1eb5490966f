#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace timepipe {

// Memory that this host, or a control group there, still has for its processes.
struct AvailableMemory {
  int64_t bytes;
  std::string limit;   // who says so: a file
  uint64_t group = 0;  // ControlGroup::id; 0: the host
};

// What the kernel calls available, then what the control groups of this process
// (versions 1 and 2, each up to its root) leave, file pages that they can give
// back counted as free. `root` comes before every path, for tests. Throws
// IoError if there is no /proc/meminfo.
std::vector<AvailableMemory> memory_limits(const std::string& root = "");

// The least of them.
AvailableMemory available_memory(const std::string& root = "");

// Of the machine, the same in all its containers.
uint64_t host_id(const std::string& root = "");

}  // namespace timepipe
