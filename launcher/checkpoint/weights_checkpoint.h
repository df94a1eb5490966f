#pragma once

#include <string>

#include "launcher/config/config.h"
#include "runtime/parameter.h"

namespace timepipe {

// Makes RUN_DIR, which must be new or empty, with its configuration and one
// checkpoint of step 0: the weights, in one shard, and moments of zero.
// hugging_face: the text of config.json that the model came with. Whole or not
// at all: on an error, what was made is gone. Throws InvalidArgument or
// IoError.
void write_weights_checkpoint(Context& ctx, const std::string& run_dir,
                              const RunConfig& config,
                              const std::string& hugging_face,
                              const ParameterStore& weights);

}  // namespace timepipe
