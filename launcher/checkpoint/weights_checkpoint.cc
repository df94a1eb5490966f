// Makes a run's folder of imported weights.

#include "launcher/checkpoint/weights_checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/config/config_text.h"
#include "parallel/sharded_optimizer.h"
#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShard = "shard-00000-of-00001.safetensors";

Manifest manifest_of(Context& ctx, const RunConfig& config,
                     const std::string& hugging_face,
                     const ParameterStore& weights) {
  Manifest manifest;
  manifest.digest = digest_of(ctx, weights);
  manifest.dtype = weights.dtype();
  manifest.configuration = to_text(config);
  manifest.hugging_face = hugging_face;
  manifest.parameters = weights.layout().parameters();
  return manifest;
}

std::string header_of(const Manifest& manifest) {
  const std::string dtype = manifest.dtype == DType::kF64 ? "F64" : "F32";
  std::vector<SafetensorsEntry> entries;
  int64_t end = 0;
  for (const Manifest::Piece& piece : manifest.pieces) {
    const int64_t begin = end;
    end += piece.count * size_of(manifest.dtype);
    entries.push_back({piece.tensor(), dtype, {piece.count}, begin, end});
  }
  return safetensors_header(entries, {});
}

// Weights, then moments of zero: one piece for each parameter, of which the
// host holds one at a time.
void write_shard(Context& ctx, const std::string& folder,
                 const ParameterStore& weights, Manifest& manifest) {
  int64_t most = 0;
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p : manifest.parameters) {
      manifest.pieces.push_back({.kind = kind,
                                 .parameter = p.name,
                                 .first = 0,
                                 .count = p.count,
                                 .shard = 0,
                                 .xxh64 = 0});
      most = std::max(most, p.count * size_of(manifest.dtype));
    }
  }
  const std::string path = folder + "/" + kShard;
  NewFile file(path);
  const std::string header = header_of(manifest);
  file.append(std::as_bytes(std::span(header)));
  const std::vector<std::byte> zeros(static_cast<std::size_t>(most));
  for (Manifest::Piece& piece : manifest.pieces) {
    const auto size =
        static_cast<std::size_t>(piece.count * size_of(manifest.dtype));
    HostArray value;
    ConstBytes bytes = ConstBytes(zeros).first(size);
    if (piece.kind == "weights") {
      value = download(ctx, weights.value(piece.parameter));
      bytes = value.bytes();
    }
    piece.xxh64 = XXH64(bytes.data(), size, 0);
    file.append(bytes);
  }
  file.commit();
  manifest.shards.push_back(
      {kShard, static_cast<int64_t>(fs::file_size(path))});
}

}  // namespace

void write_weights_checkpoint(Context& ctx, const std::string& run_dir,
                              const RunConfig& config,
                              const std::string& hugging_face,
                              const ParameterStore& weights) {
  std::error_code error;
  const bool was_there = fs::exists(run_dir, error);
  require(!was_there || (fs::is_directory(run_dir, error) &&
                         fs::is_empty(run_dir, error)),
          run_dir, ": is there already, expected a new or empty folder");
  const std::string folder = checkpoint_folder(run_dir, 0);
  fs::create_directories(folder, error);
  if (error) throw IoError(folder + ": " + error.message());
  try {
    Manifest manifest = manifest_of(ctx, config, hugging_face, weights);
    write_file(run_dir + "/config.textproto", manifest.configuration);
    write_shard(ctx, folder, weights, manifest);
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
