#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/data/prepare.h"

namespace timepipe {

// The subcommands of `timepipe data`, as those of launcher/commands/commands.h.

// Makes a token file of texts; progress on stderr.
int cmd_data_prepare(const PrepareOptions& options);

struct DataInfoOptions {
  std::vector<std::string> files;
  int64_t sequence_length = 0;  // 0: not asked for
  int64_t vocab_size = 0;       // 0: ids aren't checked
  StoredToken raw = StoredToken::kU16;
};

// Prints what is in token files and texts; progress on stderr.
int cmd_data_info(const DataInfoOptions& options);

}  // namespace timepipe
