#pragma once

#include <string>
#include <vector>

#include "launcher/config/config.h"

namespace timepipe {

// Reads a file of the schema in text format over the file that it names as its
// base, applies the overrides ("model.num_layers=4"; a list is replaced:
// "data.train=a.txt,b.txt", with "\," for a comma in a name) in their order,
// of which a list may be given once, and validates the result. Throws IoError,
// or InvalidArgument that names file:line:column or the override.
RunConfig load_config(const std::string& path,
                      const std::vector<std::string>& overrides = {});

// Parses a configuration that to_text() made; `where` is for errors.
RunConfig config_from_text(const std::string& text, const std::string& where);

// The first field in which a run that goes on must not differ, and does: "path:
// {value}, expected {value}"; "" if there is none. Those that change no result
// (parallel.*, train.hot_rounds, run_dir, checkpoint.*, eval.*, init_from,
// data.start_state), the device, which rounds in its own way, and
// optimizer.steps may differ.
std::string first_difference(const RunConfig& now, const RunConfig& before);

// Every field, in text format: load_config() of it gives the same values.
std::string to_text(const RunConfig& config);

}  // namespace timepipe
