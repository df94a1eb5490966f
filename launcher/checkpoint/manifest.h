#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/parameter.h"

namespace timepipe {

// What a checkpoint is made of: manifest.json, the one file that is Timepipe's
// own, beside shards in safetensors form. A folder without it is no checkpoint.
struct Manifest {
  // Elements [first, first + count) of a parameter or of one of its moments:
  // the tensor "KIND.PARAMETER@FIRST" of a shard.
  struct Piece {
    std::string kind;  // one of kinds()
    std::string parameter;
    int64_t first, count;
    int64_t shard;  // index
    uint64_t xxh64;

    std::string tensor() const;
  };
  struct Shard {
    std::string file;
    int64_t size_bytes;
  };
  // What a sequence of the batch left for the next step (data.carry_state), in
  // one layer: the tensor "carried.SEQUENCE.LAYER.BORDER" of a shard.
  struct Carried {
    int64_t sequence, layer;
    std::string border;  // halo_x, halo_qk, state
    int64_t steps;       // that were done then
    int64_t count;       // elements
    int64_t shard;       // index
    uint64_t xxh64;

    std::string tensor() const;
  };
  // A file that the run is trained on.
  struct DataFile {
    std::string path;
    uint64_t hash;  // TrainData::File::hash
    // In checkpoints of earlier versions `hash` is TokenFile::hash_of_bytes.
    bool of_bytes = false;
  };

  static constexpr int64_t kFormat = 1;
  static const std::vector<std::string>& kinds();  // weights, adam_m, adam_v

  int64_t steps = 0;          // optimizer steps done
  int64_t skipped_steps = 0;  // of them, without a finite loss and gradient
  int64_t updates = 0;        // of the moments, those before init_optimizer
                              // too; earlier versions don't say: steps that
                              // weren't skipped
  uint64_t digest = 0;        // of the weights
  std::optional<double> held_out_loss;  // finite; none: not evaluated
  DType dtype = DType::kF32;
  std::string configuration;  // resolved, text format
  std::string hugging_face;   // config.json that the model once came with; else
                              // empty
  std::vector<Parameter> parameters;  // in the order of the flat buffer
  std::vector<Shard> shards;
  std::vector<Piece> pieces;
  std::vector<Carried> carried;  // each border of a sequence and layer once
  std::vector<DataFile> data;    // empty: not known
};

std::string to_json(const Manifest& manifest);

// A pure function. Throws InvalidArgument ("WHERE: what") unless every name and
// size is possible, shards lie in the manifest's own folder, and the pieces
// make every parameter and its moments whole, without overlap.
Manifest parse_manifest(const std::string& text, const std::string& where);

// Throws InvalidArgument naming the first parameter that isn't the same in name
// and shape.
void require_same_parameters(const std::string& where,
                             const std::vector<Parameter>& actual,
                             const std::vector<Parameter>& expected);

}  // namespace timepipe
