#pragma once

#include <cstdint>
#include <string>

namespace timepipe {

// Memory that this host still has for us.
struct AvailableMemory {
  int64_t bytes;
  std::string limit;  // who says so: a file
};

// The least of what the kernel calls available and what the control groups of
// this process (versions 1 and 2, each up to its root) leave, file pages that
// they can give back counted as free. `root` comes before every path, for
// tests. Throws IoError if there is no /proc/meminfo.
AvailableMemory available_memory(const std::string& root = "");

// Of the machine, the same in all its containers.
uint64_t host_id(const std::string& root = "");

}  // namespace timepipe
