// Saves after the steps that are due, and checks weights before.

#include "launcher/run/saves.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/finite.h"
#include "launcher/checkpoint/best.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "runtime/error.h"
#include "runtime/finite.h"
#include "runtime/transfer.h"

namespace timepipe {

Saves::Saves(Context& ctx, Communicator& world, const RunConfig& config,
             Trainer& trainer, std::vector<Manifest::DataFile> data,
             std::string hugging_face)
    : ctx_(ctx),
      world_(world),
      config_(config),
      trainer_(trainer),
      writer_(ctx, world, config, trainer, std::move(data),
              std::move(hugging_face)) {}

void Saves::after_step(int64_t steps_done, int64_t skipped_steps,
                       uint64_t digest, std::optional<double> held_out_loss,
                       bool leaves) {
  const CheckpointConfig& c = config_.checkpoint;
  const bool may_be_best = held_out_loss && c.keep_best > 0;
  bool due = leaves || (c.every > 0 && steps_done % c.every == 0);
  const bool has_folder = !config_.run_dir.empty();
  if (has_folder) {
    check(writer_.settle(/*wait=*/due || may_be_best), /*must=*/false);
  }
  due = due || (may_be_best && is_best(steps_done, *held_out_loss));
  if (due) require_finite_weights(steps_done);
  if (!has_folder || !due || steps_done == last_) return;
  last_ = steps_done;
  log_line("checkpoint of step " + std::to_string(steps_done) + " begun");
  const auto outcome =
      writer_.save(steps_done, skipped_steps, digest, held_out_loss);
  check(std::max(outcome, writer_.settle(/*wait=*/leaves)), leaves);
}

// Whether it will be among the checkpoints that keep_best keeps. Collective.
bool Saves::is_best(int64_t steps_done, double held_out_loss) {
  return on_any_rank(
      world_, world_.rank() == 0 &&
                  is_among_best(config_.run_dir, steps_done, held_out_loss,
                                config_.checkpoint.keep_best));
}

// All ranks have the same weights. The moments are finite: they are means of
// gradients, which GradientSum bounds.
void Saves::require_finite_weights(int64_t steps_done) {
  const ParameterStore& weights = trainer_.model().weights();
  for (const Parameter& p : weights.layout().parameters()) {
    const Tensor value = weights.value(p.name);
    if (all_finite(ctx_, value)) continue;
    require_finite("step " + std::to_string(steps_done) + ": " + p.name,
                   download(ctx_, value));
  }
}

// What became of the last save. `must`: the run is lost without it.
void Saves::check(CheckpointWriter::Outcome outcome, bool must) {
  using Outcome = CheckpointWriter::Outcome;
  if (outcome == Outcome::kCommitted) {
    log_line("checkpoint of step " + std::to_string(last_) + " committed");
  }
  if (outcome == Outcome::kFailed) last_ = -1;
  require(outcome != Outcome::kFailed ||
              (!must && config_.checkpoint.on_failure == OnFailure::kGoOn),
          "a checkpoint could not be saved to ", config_.run_dir,
          (must ? ": the last step isn't saved"
                : ": the run stops as checkpoint.on_failure says"));
}

}  // namespace timepipe
