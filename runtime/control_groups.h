#pragma once

#include <string>
#include <vector>

namespace timepipe {

// The folders of this process's control group and of those above it that can be
// seen, upwards; of versions 1 and 2. `controller`: "cpu", "memory". `root`
// comes before every path, for tests.
std::vector<std::string> control_groups(const std::string& controller,
                                        const std::string& root = "");

}  // namespace timepipe
