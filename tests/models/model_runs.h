#pragma once

// Losses, gradients and activations of a model on any number of ranks.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "launcher/trainer/trainer.h"
#include "tests/models/model_cases.h"
#include "tests/support/gradcheck.h"
#include "tests/support/threads.h"

namespace timepipe::testing {

// What observers on all ranks see, as whole sequences: the rows of a value in
// the order of sequences and tokens, whatever the chunks; of states, the last.
class Observations {
 public:
  // ctx: of the rank that is observed.
  Observer observer(Context& ctx, const ProcessGrid& grid, const Batch& batch);

  std::vector<std::string> names() const;
  std::vector<double> values(const std::string& name) const;

 private:
  using Place = std::pair<int64_t, int64_t>;  // sequence, token

  void put(const std::string& name, Place place,
           const std::vector<double>& piece);

  std::mutex mutex_;
  std::map<std::string, std::map<Place, std::vector<double>>> pieces_;
};

struct ModelRun {
  ModelConfig config;
  Batch batch;
  TrainConfig train;  // chunk_tokens, hot_rounds, detach_every_chunks
  ParallelConfig parallel = {};
  // Sets the weights.
  std::function<void(Context&, ParameterStore&)> weights =
      [](Context& ctx, ParameterStore& store) { randomise(ctx, 3, store); };
  bool trains = true;  // else the loss alone, no gradient
};

TrainConfig in_chunks(int64_t chunk_tokens, int64_t hot_rounds = 1,
                      int64_t detach_every_chunks = 0);

ChunkedBatch chunks_of(const ModelRun& run);

struct ModelResult {
  double loss;
  HostArray gradient;  // flat
};

// The sum over ranks of what the trainer's gradients hold, flat. Collective.
Tensor reduced_gradient(Context& ctx, Trainer& trainer, double loss);

ModelResult run_batch(Context& ctx, Trainer& trainer, const Batch& batch);

::testing::AssertionResult same_bits(const ModelResult& a,
                                     const ModelResult& b);

// On time * data ranks, which are threads and must all say the same.
ModelResult run_model(const ModelRun& run,
                      Observations* observations = nullptr);

// The loss of a run's batch by forward passes alone, on one rank.
class ForwardLoss {
 public:
  // `program`: the model, or one that runs it.
  ForwardLoss(Context& ctx, Communicator& world, const ModelRun& run,
              LanguageModel& model, ChunkProgram& program);

  double operator()();

 private:
  Context& ctx_;
  LanguageModel& model_;
  std::unique_ptr<Exchange> exchange_;
  ScheduleRunner runner_;
  GradientSum unused_;
};

// Finite differences of `loss` as each parameter moves in a random direction of
// length 1, all its elements at once.
void expect_gradient(Context& ctx, ParameterStore& weights,
                     const Tensor& gradient,
                     const std::function<double()>& loss);

// The gradient of a run on one rank, against finite differences of its loss.
void check_gradient(const ModelRun& run);

// The parameters of a model, and their places in a flat tensor.
std::vector<Parameter> parameters_of(const ModelConfig& config);

std::vector<double> values_of(const Parameter& p, const HostArray& flat);

// Every parameter's gradient within `tolerance` of its own size.
void expect_close(const ModelConfig& config, const ModelResult& actual,
                  const ModelResult& expected, double tolerance);

}  // namespace timepipe::testing
