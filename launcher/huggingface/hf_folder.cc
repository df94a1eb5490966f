// Recognises and writes folders of Hugging Face's form.

#include "launcher/huggingface/hf_folder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "runtime/bf16.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"
#include "runtime/number_text.h"
#include "runtime/safetensors.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kConfig = "/config.json";
constexpr const char* kGeneration = "/generation_config.json";

int64_t size_of(HfDType dtype) { return dtype == HfDType::kF32 ? 4 : 2; }

struct StoredTensor {
  const Parameter* parameter;
  int64_t bytes;
};
using Shard = std::vector<StoredTensor>;

// By name, as the official writer has them in a file.
std::vector<Shard> cut_shards(const ParameterLayout& layout, HfDType dtype,
                              int64_t shard_bytes) {
  Shard all;
  for (const Parameter& p : layout.parameters()) {
    all.push_back({&p, p.count * size_of(dtype)});
  }
  std::ranges::sort(all, {},
                    [](const StoredTensor& t) { return t.parameter->name; });
  std::vector<Shard> shards;
  int64_t room = 0;
  for (const StoredTensor& tensor : all) {
    if (shards.empty() || tensor.bytes > room) {
      shards.emplace_back();
      room = shard_bytes;
    }
    shards.back().push_back(tensor);
    room -= tensor.bytes;
  }
  return shards;
}

std::string shard_name(std::size_t shard, std::size_t shards) {
  if (shards == 1) return kHfWeights;
  char text[64];
  std::snprintf(text, sizeof(text), "model-%05zu-of-%05zu.safetensors",
                shard + 1, shards);
  return text;
}

// The parameter's numbers, rounded to the type. Throws InvalidArgument naming
// one that is beyond its range: the largest of a wider type round to infinity.
std::vector<std::byte> round_to(HfDType dtype, const Parameter& p,
                                const HostArray& value) {
  const bool to_f32 = dtype == HfDType::kF32;
  const int64_t size = size_of(dtype);
  std::vector<std::byte> rounded(static_cast<std::size_t>(p.count * size));
  dispatch(value.dtype(), [&](auto zero) {
    const auto number = value.values<decltype(zero)>();
    for (int64_t i = 0; i < p.count; ++i) {
      const auto f32 = static_cast<float>(number[i]);
      const uint16_t bf16 = round_to_bf16(number[i]);
      if (!std::isfinite(to_f32 ? f32 : widen_bf16(bf16))) {
        throw InvalidArgument(p.name + ": element " + std::to_string(i) + ": " +
                              significant(number[i], 9) +
                              ", expected a number that " +
                              (to_f32 ? "f32" : "bf16") + " can hold");
      }
      std::memcpy(rounded.data() + i * size,
                  to_f32 ? static_cast<const void*>(&f32) : &bf16,
                  static_cast<std::size_t>(size));
    }
  });
  return rounded;
}

// One parameter after the other: the host never holds them all.
void write_shard(Context& ctx, const std::string& path, const Shard& shard,
                 const ParameterStore& weights, HfDType dtype) {
  const bool to_f32 = dtype == HfDType::kF32;
  std::vector<SafetensorsEntry> entries;
  int64_t end = 0;
  for (const auto& [parameter, bytes] : shard) {
    entries.push_back({parameter->name, to_f32 ? "F32" : "BF16",
                       parameter->shape, end, end + bytes});
    end += bytes;
  }
  NewFile file(path);
  const std::string header = safetensors_header(entries, {{"format", "pt"}});
  file.append(std::as_bytes(std::span(header)));
  for (const StoredTensor& tensor : shard) {
    const Parameter& p = *tensor.parameter;
    const HostArray value = download(ctx, weights.value(p.name));
    if (to_f32 && value.dtype() == DType::kF32) {
      file.append(value.bytes());
    } else {
      file.append(round_to(dtype, p, value));
    }
  }
  file.commit();
}

void write_files(Context& ctx, const std::string& folder,
                 const HfConfig& config, const ParameterStore& weights,
                 HfDType dtype, int64_t shard_bytes) {
  write_file(
      folder + kConfig,
      hf_config_text(config, dtype == HfDType::kF32 ? "float32" : "bfloat16"));
  const auto shards = cut_shards(weights.layout(), dtype, shard_bytes);
  json map = json::object();
  int64_t total = 0;
  for (std::size_t s = 0; s < shards.size(); ++s) {
    const std::string name = shard_name(s, shards.size());
    write_shard(ctx, folder + "/" + name, shards[s], weights, dtype);
    for (const StoredTensor& tensor : shards[s]) {
      map[tensor.parameter->name] = name;
      total += tensor.bytes;
    }
  }
  if (shards.size() == 1) return;
  const json index = {{"metadata", {{"total_size", total}}},
                      {"weight_map", map}};
  write_file(folder + "/" + kHfIndex, index.dump(2) + "\n");
}

// Of a file of weights in another form, by the names that are usual.
bool is_other_weights(const std::string& name) {
  constexpr std::array<std::string_view, 6> kEnds = {
      ".bin", ".pth", ".pt", ".ckpt", ".h5", ".msgpack"};
  return name != "training_args.bin" &&
         std::ranges::any_of(
             kEnds, [&](std::string_view end) { return name.ends_with(end); });
}

}  // namespace

bool is_hf_folder(const std::string& folder) {
  return fs::is_regular_file(folder + kConfig) &&
         (fs::exists(folder + "/" + kHfWeights) ||
          fs::exists(folder + "/" + kHfIndex));
}

void require_hf_weights(const std::string& folder) {
  if (is_hf_folder(folder) || !fs::is_regular_file(folder + kConfig)) return;
  const std::string expected =
      ", expected model.safetensors or model.safetensors.index.json beside it";
  for (const auto& file : fs::directory_iterator(folder)) {
    const std::string name = file.path().filename().string();
    if (!file.is_regular_file() || !is_other_weights(name)) continue;
    throw InvalidArgument(
        folder + ": has config.json and " + name + expected +
        (name.ends_with(".h5") || name.ends_with(".msgpack")
             ? ""
             : ": torch.load reads it, safetensors.torch.save_file writes what "
               "is read here"));
  }
  throw InvalidArgument(folder + ": has config.json" + expected);
}

void require_hf_folder(const std::string& folder) {
  if (!fs::is_directory(folder)) {
    throw IoError(folder + ": no such folder, expected a Hugging Face folder");
  }
  require_hf_weights(folder);
  require(is_hf_folder(folder), folder,
          ": expected a Hugging Face folder: config.json beside "
          "model.safetensors or model.safetensors.index.json");
}

HfConfig read_hf_config(const std::string& folder) {
  const auto text = [&](const char* name) {
    return read_plain_text(folder + name);
  };
  HfConfig config = parse_hf_config(text(kConfig), folder + kConfig);
  if (fs::exists(folder + kGeneration)) {
    take_generation_ends(text(kGeneration), folder + kGeneration, config);
  }
  return config;
}

void write_hf_folder(Context& ctx, const std::string& folder,
                     const HfConfig& config, const ParameterStore& weights,
                     HfDType dtype, int64_t shard_bytes) {
  require(shard_bytes > 0, "shard size: ", shard_bytes,
          ", expected a number of bytes above 0");
  fs::path target(folder);
  if (!target.has_filename()) target = target.parent_path();
  std::string partial;
  do partial = temporary_path(target.string());
  while (fs::exists(partial));
  std::error_code error;
  require(!fs::exists(target) ||
              (fs::is_directory(target) && fs::is_empty(target, error)),
          folder, ": is there already, expected a new or empty folder");
  if (!fs::create_directories(partial, error)) {
    throw IoError(partial + ": " + error.message());
  }
  try {
    write_files(ctx, partial, config, weights, dtype, shard_bytes);
    fs::rename(partial, target, error);
    if (error) throw IoError(folder + ": " + error.message());
  } catch (...) {
    fs::remove_all(partial, error);
    throw;
  }
  const fs::path parent = target.parent_path();
  sync_folder(parent.empty() ? "." : parent.string());
}

}  // namespace timepipe
