#pragma once

#include <cstdint>
#include <utility>

#include "launcher/config/config.h"
#include "launcher/trainer/carried_state.h"
#include "models/language_model.h"
#include "parallel/process_grid.h"
#include "parallel/schedule_runner.h"
#include "parallel/sharded_optimizer.h"

namespace timepipe {

// A model, its optimizer and its place among the ranks: all of a training step.
class Trainer {
 public:
  // Throws InvalidArgument unless world.size() is time x data ranks.
  Trainer(Context& ctx, Communicator& world, const ModelConfig& model,
          const TrainConfig& train, const ParallelConfig& parallel,
          const OptimizerOptions& optimizer);

  struct StepResult {
    double loss, grad_norm;  // norm before clipping
    bool finite;             // false: the weights were left as they were
    int64_t labels;          // 0: likewise, and the loss is no number
    uint64_t digest;         // of the weights after the step
  };

  // One optimizer step on the same batch on all ranks, of which every data
  // rank takes its sequences (grid().share()). Their ids are given back before
  // this returns. Sequences go on from those of earlier steps as CarriedState
  // says. Collective.
  StepResult step(Batch batch, double lr, double inner_multiplier,
                  int64_t step);

  // Between time ranks, of all steps so far.
  int64_t bytes_sent_in_steps() const { return bytes_sent_in_steps_; }

  // Its first half: the loss, and this rank's share of the gradient. The model
  // keeps the batch.
  double forward_backward(Batch batch);

  // See ScheduleRunner.
  void set_watch(Watch watch) { runner_.set_watch(std::move(watch)); }

  // The loss of a batch, by forward passes alone. Collective.
  double evaluate(Batch batch);

  LanguageModel& model() { return model_; }
  ShardedOptimizer& optimizer() { return optimizer_; }
  const GradientSum& gradients() const { return gradients_; }
  CarriedState& carried() { return carried_; }
  const ProcessGrid& grid() const { return grid_; }

 private:
  // The loss. The model has the batch's sequences of this rank after it.
  double run(Batch& batch, bool training);
  ScheduleShape set_batch(Batch& batch, bool training);
  double gather_loss(const Batch& batch);
  // Of this rank's sequences; 0 unless it is the first that shares them.
  int64_t count_labels(const Batch& batch) const;

  TrainConfig train_;
  ProcessGrid grid_;
  LanguageModel model_;
  GradientSum gradients_;
  ShardedOptimizer optimizer_;
  int64_t bytes_sent_in_steps_ = 0;
  CarriedState carried_;
  ScheduleRunner runner_;
};

}  // namespace timepipe
