#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launcher/huggingface/hf_config.h"
#include "runtime/parameter.h"

namespace timepipe {

// A folder as save_pretrained writes it: config.json, and model.safetensors or
// shards with model.safetensors.index.json; where both are there, the former,
// as transformers does. generation_config.json is read, if it is there, for its
// end tokens; it isn't written, nor are tokenizer files read or written.

inline constexpr const char* kHfWeights = "model.safetensors";
inline constexpr const char* kHfIndex = "model.safetensors.index.json";

bool is_hf_folder(const std::string& folder);
// Throws InvalidArgument if the folder has config.json but no such weights,
// naming those of another form that lie there (pytorch_model.bin).
void require_hf_weights(const std::string& folder);
// Throws likewise, or IoError, unless is_hf_folder().
void require_hf_folder(const std::string& folder);

// Of config.json and generation_config.json. Throws IoError or InvalidArgument.
HfConfig read_hf_config(const std::string& folder);

// Copies the folder's tensors (F32, F16, BF16: exact; F64: rounded if the
// weights are f32) into the weights. What says nothing new may be there too:
// a tensor in two shards or tied embeddings twice, with the same bits, and
// buffers that follow from the configuration. Throws InvalidArgument that lists
// what is missing, unexpected or of another shape (the weights are then as
// before) or names the tensor and element that isn't finite. `say`, if any,
// gets a line about a file that is passed over.
void read_hf_weights(Context& ctx, const std::string& folder,
                     ParameterStore& weights,
                     const std::function<void(const std::string&)>& say = {});

// Of the folder; wider weights are rounded to nearest, ties to even.
enum class HfDType { kF32, kBF16 };

// Makes the folder, whole or not at all (it is written under a temporary
// name). Shards are cut where they would exceed shard_bytes; a larger tensor
// has one of its own. Throws InvalidArgument if FOLDER holds something already
// or naming a number that rounds to infinity, IoError if it can't be written.
void write_hf_folder(Context& ctx, const std::string& folder,
                     const HfConfig& config, const ParameterStore& weights,
                     HfDType dtype, int64_t shard_bytes = 5'000'000'000);

}  // namespace timepipe
