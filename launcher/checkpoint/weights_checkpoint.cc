// Makes a run's folder of imported weights.

#include "launcher/checkpoint/weights_checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/config/config_text.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShard = "shard-00000-of-00001.safetensors";

Manifest manifest_of(const RunConfig& config, const std::string& hugging_face,
                     const ParameterStore& weights) {
  const ParameterLayout& layout = weights.layout();
  Manifest manifest;
  manifest.digest = combine_hashes(
      block_hashes(layout, weights.flat(), 0, layout.num_blocks()));
  manifest.dtype = weights.dtype();
  manifest.configuration = to_text(config);
  manifest.hugging_face = hugging_face;
  manifest.parameters = layout.parameters();
  return manifest;
}

// Weights, then moments of zero: one piece for each parameter.
void write_shard(const std::string& folder, const ParameterStore& weights,
                 Manifest& manifest) {
  int64_t most = 0;
  for (const Parameter& p : manifest.parameters) most = std::max(most, p.count);
  const int64_t element = size_of(weights.dtype());
  const std::vector<std::byte> zeros(static_cast<std::size_t>(most * element));
  std::vector<SafetensorsItem> items;
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p : manifest.parameters) {
      const auto size = static_cast<std::size_t>(p.count * element);
      const ConstBytes bytes =
          kind == "weights"
              ? weights.flat().bytes().subspan(
                    static_cast<std::size_t>(p.offset * element), size)
              : ConstBytes(zeros.data(), size);
      manifest.pieces.push_back({.kind = kind,
                                 .parameter = p.name,
                                 .first = 0,
                                 .count = p.count,
                                 .shard = 0,
                                 .xxh64 = XXH64(bytes.data(), size, 0)});
      items.push_back({manifest.pieces.back().tensor(),
                       weights.dtype() == DType::kF64 ? "F64" : "F32",
                       {p.count},
                       bytes});
    }
  }
  const std::string file = folder + "/" + kShard;
  write_safetensors(file, items);
  manifest.shards.push_back(
      {kShard, static_cast<int64_t>(fs::file_size(file))});
}

}  // namespace

void write_weights_checkpoint(const std::string& run_dir,
                              const RunConfig& config,
                              const std::string& hugging_face,
                              const ParameterStore& weights) {
  std::error_code error;
  const bool was_there = fs::exists(run_dir, error);
  require(!was_there || (fs::is_directory(run_dir, error) &&
                         fs::is_empty(run_dir, error)),
          run_dir + ": is there already, expected a new or empty folder");
  const std::string folder = checkpoint_folder(run_dir, 0);
  fs::create_directories(folder, error);
  if (error) throw IoError(folder + ": " + error.message());
  try {
    Manifest manifest = manifest_of(config, hugging_face, weights);
    write_file(run_dir + "/config.textproto", manifest.configuration);
    write_shard(folder, weights, manifest);
    write_file(folder + "/manifest.json", to_json(manifest));
    sync_folder(fs::path(folder).parent_path().string());
  } catch (...) {
    for (const char* made : {"/checkpoints", "/config.textproto"}) {
      fs::remove_all(run_dir + made, error);
    }
    if (!was_there) fs::remove_all(run_dir, error);
    throw;
  }
}

}  // namespace timepipe
