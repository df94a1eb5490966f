#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/trainer/trainer.h"

namespace timepipe::testing {

// A small training run on packed documents, sequences of different length in
// each step, that every layout of ranks must repeat bit for bit.
struct Scenario {
  ModelConfig model;
  OptimizerConfig optimizer;
  int64_t chunk_tokens, steps;
  bool carries = false;  // sequences go on from step to step, five at a time
  std::vector<int64_t> lengths = {304, 168};  // the last chunks are short
  int64_t micro_batch = 1;
  DType dtype = DType::kF32;
};

Scenario linear_mamba();     // TTT-Linear, Mamba backbone
Scenario mlp_transformer();  // TTT-MLP, Transformer backbone
Scenario carried();          // linear_mamba() whose sequences go on
Scenario side_by_side();     // linear_mamba() of five sequences, two at a time
Scenario carried_side_by_side();  // the same, and they go on
Scenario in_bf16();               // carried_side_by_side(), computed in bf16
Scenario mlp_in_bf16();
Scenario wide();  // 3 steps of a model that threads have sums to split in
// Of the names above. Throws InvalidArgument for another one.
Scenario scenario_named(const std::string& name);

// Documents of 1 to 60 tokens, padded to mini-batches; some carry the state on,
// the others start anew. A pure function of (scenario, step).
Batch scenario_batch(const Scenario& scenario, int64_t step);

// Takes all labels off.
void remove_labels(Batch& batch);

struct Layout {
  int64_t time = 1, data = 1, hot_rounds = 1;
};

Trainer make_trainer(const Scenario& scenario, const Layout& layout,
                     Context& ctx, Communicator& world);
Trainer::StepResult run_step(Trainer& trainer, const Scenario& scenario,
                             int64_t step);

// Digests of the weights after every step, followed by the bits of the losses.
// Collective over world.
std::vector<uint64_t> run_scenario(const Scenario& scenario,
                                   const Layout& layout, Communicator& world);

}  // namespace timepipe::testing
