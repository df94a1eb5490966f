#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/model_config.h"

namespace timepipe {

// config.json of the official PyTorch code: the model and what the file holds
// beside it.
struct HfConfig {
  ModelConfig model;
  int64_t max_position_embeddings = 2048;  // kept; the model has no limit
  std::optional<int64_t> bos_token_id = 1, pad_token_id;
  std::vector<int64_t> eos_token_ids = {2};  // a text ends at any of them
};

// Reads the text of config.json as transformers 4 or 5 writes it; a pure
// function. A field that is not there has the official code's default. What
// the library keeps there for itself is passed over (bookkeeping_fields() in
// hf_config.cc), so are fields that are null. Throws InvalidArgument ("WHERE:
// field: value, expected ...") on any other field or value that this program
// can't honour.
HfConfig parse_hf_config(const std::string& text, const std::string& where);

// Sets what the text of generation_config.json says of end tokens, in the same
// forms; that counts, in transformers, whatever config.json says. Nothing else
// of it is read. Throws InvalidArgument, likewise.
void take_generation_ends(const std::string& text, const std::string& where,
                          HfConfig& config);

// The text that save_pretrained writes; torch_dtype: "float32", "bfloat16".
std::string hf_config_text(const HfConfig& config,
                           const std::string& torch_dtype);

}  // namespace timepipe
