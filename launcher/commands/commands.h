#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/generate/sampler.h"

namespace timepipe {

// What the subcommands of the program do; each returns the exit status and
// throws what main() reports. argc and argv are those of main(), for MPI.

int cmd_train(int* argc, char*** argv, const std::string& config,
              const std::vector<std::string>& overrides);

// Prints the checkpoints of a run folder; 1 if one is broken.
int cmd_checkpoint_list(const std::string& run_dir);
// Checks every checksum of a checkpoint, or of the newest of a run folder; 1
// and what is wrong if it is broken.
int cmd_checkpoint_verify(const std::string& folder);
// Compares two checkpoints, or the newest of two run folders, bit by bit; 1 and
// the first difference if there is one.
int cmd_checkpoint_diff(const std::string& a, const std::string& b);
// Makes a run folder with one checkpoint of a Hugging Face folder's weights.
int cmd_checkpoint_import(const std::string& hf_folder,
                          const std::string& run_dir);
// Makes a Hugging Face folder of a checkpoint, and a fixture in it. dtype: f32
// or bf16.
int cmd_checkpoint_export(const std::string& checkpoint,
                          const std::string& hf_folder,
                          const std::string& dtype, int64_t shard_bytes);
// Compares an export's logits with its fixture; 1 and where they differ.
int cmd_checkpoint_verify_export(const std::string& hf_folder);

struct ScoreOptions {
  std::string checkpoint, tokens, tensor = "", logits, dtype = "f32";
};
// Writes logits and losses of the given tokens to a safetensors file.
int cmd_score(const ScoreOptions& options);

struct EvalOptions {
  std::string checkpoint, data, json;
  std::string tokenizer;   // empty: the model's
  int64_t context = -1;    // tokens of a window; 0: all; -1: as in training
  int64_t max_tokens = 0;  // predictions; 0: all
  bool by_position = false, held_out = false;
};
// Loss of a file's text.
int cmd_eval(const EvalOptions& options);

struct GenerateOptions {
  std::string checkpoint, prompt, prompt_file, state_in, state_out;
  std::string tokenizer;  // empty: the model's
  int64_t max_new_tokens = 256;
  SamplerOptions sampler;
  bool bos = false, ignore_eos = false, ids = false;
};
// Writes text that goes on from a prompt.
int cmd_generate(const GenerateOptions& options);

struct NgramOptions {
  std::string file;
  double held_out = 0;
  int max_order = 4;
};

// Prints what n-gram models of orders 2 to max_order that learn from a file of
// bytes reach on the share at its end, and their formula.
int cmd_data_ngram(const NgramOptions& options);

}  // namespace timepipe
