#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/checkpoint/checkpoint.h"

namespace timepipe {

// When a run saves its checkpoints, and what follows if one fails. Nothing is
// saved without run_dir.
class Saves {
 public:
  // As CheckpointWriter.
  Saves(Context& ctx, Communicator& world, const RunConfig& config,
        Trainer& trainer, std::vector<Manifest::DataFile> data,
        std::string hugging_face);

  // After a step, and its evaluation if it had one: starts a save if one is
  // due. `leaves`: the run ends here, all is saved on return. Throws
  // InvalidArgument if weights to be saved or to end with aren't finite, or if
  // a save failed that the run can't do without. Collective.
  void after_step(int64_t steps_done, int64_t skipped_steps, uint64_t digest,
                  std::optional<double> held_out_loss, bool leaves);

 private:
  void check(CheckpointWriter::Outcome outcome, bool must);
  bool is_best(int64_t steps_done, double held_out_loss);
  void require_finite_weights(int64_t steps_done);

  Context& ctx_;
  Communicator& world_;
  const RunConfig& config_;
  Trainer& trainer_;
  CheckpointWriter writer_;
  int64_t last_ = -1;  // its steps; -1: none, or it failed
};

}  // namespace timepipe
