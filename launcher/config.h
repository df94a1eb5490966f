#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_config.h"
#include "parallel/sharded_optimizer.h"
#include "runtime/tensor.h"
#include "runtime/token_file.h"

namespace timepipe {

// The configuration of a run as plain values. Meaning, units and defaults of
// the fields are in configs/schema/timepipe.proto, by the same names; a size
// that has no default there is 0 here.

enum class Documents { kJoined, kReset, kCarry };
enum class Loss { kTokenMean, kJax };
enum class TokenType { kUint16, kUint32 };
// How runtime/token_file.h calls it.
inline StoredToken stored_token(TokenType type) {
  return type == TokenType::kUint16 ? StoredToken::kU16 : StoredToken::kU32;
}

struct DataConfig {
  std::vector<std::string> train;
  std::vector<double> train_weights;  // empty, or one per file
  double held_out = 0;
  int64_t sequence_length = 0;
  int64_t batch = 1;
  uint64_t seed = 0;
  Documents documents = Documents::kJoined;
  bool carry_state = false;
  std::string start_state;
  Loss loss = Loss::kTokenMean;
  int64_t bos_id = -1;
  TokenType token_type = TokenType::kUint16;
  std::string tokenizer = "bytes";
};

enum class OnFailure { kGoOn, kStop };

struct CheckpointConfig {
  int64_t every = 0;
  int64_t keep_last = 3, milestone_every = 0;
  bool background = true;
  OnFailure on_failure = OnFailure::kGoOn;
};

struct EvalConfig {
  int64_t every = 0;
  std::vector<std::string> data;
  int64_t sequences = 1;
};

struct OptimizerConfig {
  int64_t steps = 0;
  double lr = 0, init_lr = 0, end_lr = 1e-5;
  int64_t warmup_steps = 0;
  int64_t inner_lr_warmup_steps = 0;
  double inner_lr_init = 0;
  int64_t max_skipped_steps = 10;
  OptimizerOptions adamw;
};

struct TrainConfig {
  int64_t chunk_tokens = 0;
  int64_t hot_rounds = 1;
  int64_t detach_every_chunks = 0;
  uint64_t seed = 0;
  DType dtype = DType::kF32;
};

struct ParallelConfig {
  int64_t time = 1, data = 1;
  double timeout_seconds = 600;
};

struct RunConfig {
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  TrainConfig train;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  std::string device = "cpu";
  std::string run_dir, init_from;

  // Chunks of one sequence; the last one may be short.
  int64_t num_chunks() const {
    return (data.sequence_length + train.chunk_tokens - 1) / train.chunk_tokens;
  }
};

// Throws InvalidArgument that names field, value and what is allowed.
void validate(const RunConfig& config);

// Reads a file of the schema in text format over the file that it names as its
// base, applies the overrides ("model.num_layers=4"; a list is replaced:
// "data.train=a.txt,b.txt") in their order and validates the result. Throws
// IoError, or InvalidArgument that names file:line:column or the override.
RunConfig load_config(const std::string& path,
                      const std::vector<std::string>& overrides = {});

// Parses a configuration that to_text() made; `where` is for errors.
RunConfig config_from_text(const std::string& text, const std::string& where);

// The first field in which a run that goes on must not differ, and does: "path:
// {value}, expected {value}"; "" if there is none. Those that change no result
// (parallel.*, train.hot_rounds, run_dir, device, checkpoint.*, eval.*,
// init_from, data.start_state) and optimizer.steps may differ.
std::string first_difference(const RunConfig& now, const RunConfig& before);

// Every field, in text format: load_config() of it gives the same values.
std::string to_text(const RunConfig& config);

}  // namespace timepipe
