// Finds out what a model's folder is, and opens it.

#include "launcher/checkpoint/open_model.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/config/config_text.h"
#include "launcher/huggingface/hf_folder.h"

namespace timepipe {
namespace {

void say(const std::string& line) { std::cerr << "timepipe: " + line + "\n"; }

OpenModel open_hf(Context& ctx, const std::string& folder, DType dtype) {
  OpenModel opened;
  opened.folder = folder;
  opened.hf = read_hf_config(folder);
  opened.from_hf = true;
  opened.config = run_config_of(opened.hf);
  opened.config.train.dtype = dtype;
  const auto tokenizer = std::filesystem::absolute(folder) / "tokenizer.model";
  // Ids of a vocabulary other than 256 are no bytes, so the path is set even if
  // the file is missing: whoever opens the tokenizer gets the error.
  if (std::filesystem::exists(tokenizer) || opened.hf.model.vocab_size != 256) {
    opened.config.data.tokenizer = tokenizer.string();
  }
  opened.model = std::make_unique<LanguageModel>(ctx, opened.hf.model, dtype);
  read_hf_weights(ctx, folder, opened.model->weights(), say);
  return opened;
}

}  // namespace

RunConfig run_config_of(const HfConfig& hf) {
  RunConfig config;
  config.model = hf.model;
  config.data.sequence_length =
      std::clamp<int64_t>(hf.max_position_embeddings, 2, int64_t{1} << 30);
  config.train.chunk_tokens = decoder_chunk_tokens(hf.model);
  config.optimizer.steps = 1;  // a configuration must have both
  config.optimizer.lr = 1e-3;
  return config;
}

HfConfig hf_config_of(const RunConfig& config) {
  HfConfig hf;
  hf.model = config.model;
  hf.max_position_embeddings = config.data.sequence_length;
  hf.bos_token_id.reset();
  hf.eos_token_ids.clear();
  if (config.data.bos_id >= 0) hf.bos_token_id = config.data.bos_id;
  return hf;
}

int64_t decoder_chunk_tokens(const ModelConfig& model) {
  constexpr int64_t kTokens = 256;
  const int64_t b = model.mini_batch_size;
  return (std::max(kTokens, model.halo_rows()) + b - 1) / b * b;
}

OpenModel open_model(Context& ctx, const std::string& path,
                     std::optional<DType> dtype) {
  if (!std::filesystem::is_directory(path)) {
    throw_no_checkpoint(path,
                        "a checkpoint, a run folder or a Hugging Face folder");
  }
  if (is_hf_folder(path)) {
    return open_hf(ctx, path, dtype.value_or(DType::kF32));
  }
  require_hf_weights(path);
  const CheckpointReader checkpoint = open_checkpoint(path, say);
  const Manifest& manifest = checkpoint.manifest();
  const std::string where = checkpoint.folder() + "/manifest.json";
  OpenModel opened;
  opened.folder = checkpoint.folder();
  opened.steps = manifest.steps;
  opened.config = config_from_text(manifest.configuration, where);
  opened.config.train.dtype = dtype.value_or(opened.config.train.dtype);
  opened.from_hf = !manifest.hugging_face.empty();
  opened.hf = opened.from_hf ? parse_hf_config(manifest.hugging_face,
                                               where + ": hugging_face")
                             : hf_config_of(opened.config);
  opened.hf.model = opened.config.model;
  opened.model = std::make_unique<LanguageModel>(ctx, opened.config.model,
                                                 opened.config.train.dtype);
  restore_weights(ctx, checkpoint, opened.model->weights());
  return opened;
}

}  // namespace timepipe
