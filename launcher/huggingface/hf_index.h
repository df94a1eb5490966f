#pragma once

#include <map>
#include <string>

namespace timepipe {

// Reads the text of model.safetensors.index.json: the files, by the tensors
// that they hold; a pure function. Throws InvalidArgument ("WHERE: what")
// unless every file is a path from the index's own folder on that stays in it,
// as shards/model-1.safetensors; transformers reads those too.
std::map<std::string, std::string> parse_weight_map(const std::string& text,
                                                    const std::string& where);

}  // namespace timepipe
