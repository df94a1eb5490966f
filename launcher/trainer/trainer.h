#pragma once

#include <cstdint>
#include <utility>

#include "launcher/config/config.h"
#include "launcher/trainer/carried_state.h"
#include "models/language_model.h"
#include "parallel/gather_slots.h"
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

  // Begins to make the schedule of the step after the one that comes next,
  // whose batch this is, while that runs. From another thread than step().
  void make_schedule_ahead(const Batch& batch);
  // Of all steps so far: how long they waited for their schedules.
  double seconds_waited_for_schedules() const {
    return runner_.seconds_waited();
  }

  // Between time ranks, of all steps so far.
  int64_t bytes_sent_in_steps() const { return bytes_sent_in_steps_; }

  // Its first half: the loss, and this rank's share of the gradient. The host
  // waits for it.
  double forward_backward(Batch batch);

  // See ScheduleRunner.
  void set_watch(Watch watch) { runner_.set_watch(std::move(watch)); }

  // The loss of a batch, by forward passes alone. Collective.
  double evaluate(Batch batch);

  LanguageModel& model() { return model_; }
  ShardedOptimizer& optimizer() { return optimizer_; }
  GradientSum& gradients() { return gradients_; }
  CarriedState& carried() { return carried_; }
  const ProcessGrid& grid() const { return grid_; }

 private:
  // The losses of all chunks in the order of sequences, f64.
  Tensor run(Batch& batch, bool training);
  void set_batch(Batch& batch);
  ChunkGrid chunk_grid() const;
  // Of this rank's sequences, of which `batch` is what all ranks have.
  ScheduleShape shape_of_step(const Batch& batch, bool training) const;
  double sum_on_host(const Tensor& losses);
  // Where the losses of all (sequence, chunk) pairs are, in that order.
  std::vector<SlotPlace> loss_places(const Batch& batch) const;
  // Over all ranks. Collective.
  int64_t count_labels(const Batch& batch) const;

  Context& ctx_;

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
