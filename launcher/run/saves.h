#pragma once

#include <cstdint>
#include <vector>

#include "launcher/checkpoint/checkpoint.h"

namespace timepipe {

// When a run saves its checkpoints, and what follows if one fails. Nothing is
// saved without run_dir.
class Saves {
 public:
  // data: the files that the run is trained on.
  Saves(Context& ctx, Communicator& world, const RunConfig& config,
        Trainer& trainer, std::vector<Manifest::DataFile> data);

  // After a step: starts a save if one is due. `leaves`: the run ends here, all
  // is saved on return. Throws InvalidArgument if a save failed that the run
  // can't do without. Collective.
  void after_step(int64_t steps_done, int64_t skipped_steps, uint64_t digest,
                  bool leaves);

 private:
  void check(CheckpointWriter::Outcome outcome, bool must);

  const RunConfig& config_;
  CheckpointWriter writer_;
  int64_t last_ = -1;  // its steps; -1: none, or it failed
};

}  // namespace timepipe
