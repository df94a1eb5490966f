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

// Prints what n-gram models of orders 2 to max_order that learn from a file of
// bytes reach on the share at its end, and their formula.
int cmd_data_ngram(const std::string& file, double held_out, int max_order);

}  // namespace timepipe
