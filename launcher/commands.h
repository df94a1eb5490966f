#pragma once

#include <string>
#include <vector>

namespace timepipe {

// What the subcommands of the program do; each returns the exit status and
// throws what main() reports. argc and argv are those of main(), for MPI.

int cmd_train(int* argc, char*** argv, const std::string& config,
              const std::vector<std::string>& overrides);

}  // namespace timepipe
