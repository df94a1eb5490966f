#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace timepipe {

// Which checkpoints of a run are its best: those of the lowest held-out loss,
// as their manifests say it; of equal ones the earlier.

// The steps of the best `count` of `checkpoints` (steps and folder, as
// list_checkpoints() gives them), the best first. Those that say no loss, or
// can't be read, aren't among them.
std::vector<int64_t> best_of(
    const std::vector<std::pair<int64_t, std::string>>& checkpoints,
    int64_t count);

// Whether the checkpoint of `steps` with that loss will be among the best
// `count` of the run's up to there.
bool is_among_best(const std::string& run_dir, int64_t steps, double loss,
                   int64_t count);

// Adds the loss to a whole checkpoint, that of a step whose evaluation came
// after the save. Its manifest is replaced at once, or stays. Throws IoError or
// InvalidArgument naming the file.
void note_held_out_loss(const std::string& folder, double loss);

}  // namespace timepipe
