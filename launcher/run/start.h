#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/checkpoint/manifest.h"
#include "launcher/config/config.h"
#include "launcher/data/train_data.h"
#include "launcher/trainer/trainer.h"

namespace timepipe {

// Where a run begins.
struct RunStart {
  int64_t steps_done = 0, skipped_steps = 0;
  uint64_t digest = 0;        // of the weights
  std::string device_before;  // that computed the steps; empty: none are done
  // Of the checkpoint; none if the run ended before its evaluation.
  std::optional<double> held_out_loss;
  // The text of config.json that says what they came with from a Hugging Face
  // folder, by way of init_from or of earlier runs; else empty.
  std::string hugging_face;
};

// Sets weights, moments and carried states: those of the newest checkpoint in
// run_dir, or of init_from and data.start_state, or new ones. Ends all ranks
// with one line if a file isn't this run's. Collective.
RunStart start_run(Context& ctx, Communicator& world, const RunConfig& config,
                   const TrainData& data, Trainer& trainer);

// What a manifest says of the files that a run is trained on.
std::vector<Manifest::DataFile> data_files(const TrainData& data);

}  // namespace timepipe
