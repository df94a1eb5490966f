#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace timepipe {

struct ControlGroup {
  std::string folder;
  uint64_t id;  // the same in all containers of a host, and in no other group
};

// This process's control group and those above it that can be seen, upwards;
// of versions 1 and 2. `controller`: "cpu", "memory". `root` comes before every
// path, for tests.
std::vector<ControlGroup> control_groups(const std::string& controller,
                                         const std::string& root = "");

}  // namespace timepipe
