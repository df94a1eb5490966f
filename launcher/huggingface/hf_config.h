#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "models/model_config.h"

namespace timepipe {

// config.json of the official PyTorch code: the model and what the file holds
// beside it.
struct HfConfig {
  ModelConfig model;
  int64_t max_position_embeddings = 2048;  // kept; the model has no limit
  std::optional<int64_t> bos_token_id = 1, eos_token_id = 2, pad_token_id;
};

// Reads the text of config.json; a pure function. A field that is not there
// has the official code's default. Throws InvalidArgument ("WHERE: field:
// value, expected ...") on a field or value that this program can't honour.
HfConfig parse_hf_config(const std::string& text, const std::string& where);

// The text that save_pretrained writes; torch_dtype: "float32", "bfloat16".
std::string hf_config_text(const HfConfig& config,
                           const std::string& torch_dtype);

}  // namespace timepipe
