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
  int64_t keep_last = 3, keep_best = 0, milestone_every = 0;
  bool background = true;
  OnFailure on_failure = OnFailure::kGoOn;
};

struct EvalConfig {
  int64_t every = 0;
  std::vector<std::string> data;
  int64_t sequences = 1;
};

enum class RateSchedule { kCosine, kLinear, kConstant, kWarmupStableDecay };

struct OptimizerConfig {
  int64_t steps = 0;
  RateSchedule schedule = RateSchedule::kCosine;
  double lr = 0, init_lr = 0, end_lr = 1e-5;
  int64_t warmup_steps = 0, decay_steps = 0;
  int64_t inner_lr_warmup_steps = 0;
  double inner_lr_init = 0;
  int64_t max_skipped_steps = 10;
  OptimizerOptions adamw;
};

struct TrainConfig {
  int64_t micro_batch = 1;  // data.micro_batch
  int64_t chunk_tokens = 0;
  int64_t hot_rounds = 1;
  int64_t detach_every_chunks = 0;
  uint64_t seed = 0;
  DType dtype = DType::kF32;
};

struct ParallelConfig {
  int64_t time = 1, data = 1;
  double timeout_seconds = 600;
  bool check_memory = true;
};

struct RunConfig {
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  TrainConfig train;
  ParallelConfig parallel;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  std::string device = "cpu";  // or cuda (one for each rank), cuda:1
  std::string run_dir, init_from;
  bool init_optimizer = false;

  // Chunks of one sequence; the last one may be short.
  int64_t num_chunks() const {
    return (data.sequence_length + train.chunk_tokens - 1) / train.chunk_tokens;
  }
  // Of a step; the last one may be smaller.
  int64_t num_micro_batches() const {
    return (data.batch + train.micro_batch - 1) / train.micro_batch;
  }
};

// Throws InvalidArgument that names field, value and what is allowed.
void validate(const RunConfig& config);

}  // namespace timepipe
