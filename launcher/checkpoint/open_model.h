#pragma once

#include <memory>
#include <optional>
#include <string>

#include "launcher/config/config.h"
#include "launcher/huggingface/hf_config.h"
#include "models/language_model.h"

namespace timepipe {

// A trained model, from whatever folder it lies in.
struct OpenModel {
  std::string folder;    // that was read
  int64_t steps = 0;     // optimizer steps done; 0 for a Hugging Face folder
  RunConfig config;      // of the run
  HfConfig hf;           // what config.json says, or will after an export
  bool from_hf = false;  // it was said; else it follows from the run
  std::unique_ptr<LanguageModel> model;
};

// Opens a checkpoint's folder, the newest valid checkpoint of a run folder
// (those that are broken are named on stderr) or a Hugging Face folder. dtype:
// what computes, as train.dtype; without one, the run's, f32 for Hugging Face.
// Throws IoError or InvalidArgument naming path and reason.
OpenModel open_model(Context& ctx, const std::string& path,
                     std::optional<DType> dtype = std::nullopt);

// The configuration of a run that could have left this model: what a Hugging
// Face folder doesn't say has the defaults.
RunConfig run_config_of(const HfConfig& hf);

// What config.json gets that a run's configuration doesn't say: the sequence
// length as max_position_embeddings, the ids of special tokens.
HfConfig hf_config_of(const RunConfig& config);

// The rows that a Decoder reads at once: enough for large matrix products, few
// enough that a long prompt needs no more memory than a short one, however long
// the chunks were in training.
int64_t decoder_chunk_tokens(const ModelConfig& model);

}  // namespace timepipe
