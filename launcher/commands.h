#pragma once

#include <string>
#include <vector>

namespace timepipe {

// What the subcommands of the program do; each returns the exit status and
// throws what main() reports. argc and argv are those of main(), for MPI.

int cmd_train(int* argc, char*** argv, const std::string& config,
              const std::vector<std::string>& overrides);

// Prints the checkpoints of a run folder; 1 if one is broken.
int cmd_checkpoint_list(const std::string& run_dir);
// Checks every checksum of a checkpoint; 1 and what is wrong if it is broken.
int cmd_checkpoint_verify(const std::string& folder);
// Compares two checkpoints, or the newest of two run folders, bit by bit; 1 and
// the first difference if there is one.
int cmd_checkpoint_diff(const std::string& a, const std::string& b);

}  // namespace timepipe
