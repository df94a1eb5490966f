#include "launcher/run/start.h"

#include <algorithm>
#include <functional>
#include <string>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/config/config_text.h"
#include "launcher/huggingface/hf_folder.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "models/build.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

uint64_t hash_of(const ParameterStore& weights) {
  const auto blocks = static_cast<int64_t>(weights.layout().blocks().size());
  return combine_hashes(
      block_hashes(weights.layout(), weights.flat(), 0, blocks));
}

ModelConfig model_of(const CheckpointReader& checkpoint) {
  return config_from_text(checkpoint.manifest().configuration,
                          checkpoint.folder() + "/manifest.json")
      .model;
}

// That of init_from must be this run's, but for how weights start.
void require_model(const RunConfig& config, ModelConfig model) {
  model.initializer_range = config.model.initializer_range;
  model.conv_init = config.model.conv_init;
  RunConfig other = config;
  other.model = model;
  const std::string difference = first_difference(config, other);
  require(difference.empty(),
          difference + " (init_from " + config.init_from + ": another model)");
}

// The configuration has the same names of files; are they the same files?
void require_same_data(const CheckpointReader& checkpoint,
                       const std::vector<Manifest::DataFile>& now) {
  const auto& before = checkpoint.manifest().data;
  for (std::size_t f = 0; f < std::min(now.size(), before.size()); ++f) {
    require(now[f].hash == before[f].hash,
            "data.train: " + now[f].path + ": its tokens aren't those that " +
                checkpoint.folder() + " was trained on");
  }
}

// Collective: all ranks must see the same folder.
bool resumes(Communicator& world, const std::string& run_dir) {
  if (run_dir.empty()) return false;
  const auto found = static_cast<uint64_t>(list_checkpoints(run_dir).size());
  require_same_on_all_ranks(world, "number of checkpoints in " + run_dir,
                            found);
  return found > 0;
}

void resume(Context& ctx, const CheckpointReader& checkpoint,
            const RunConfig& config, const TrainData& data, Trainer& trainer,
            RunStart& start) {
  const Manifest& manifest = checkpoint.manifest();
  const std::string difference = first_difference(
      config, config_from_text(manifest.configuration,
                               checkpoint.folder() + "/manifest.json"));
  require(difference.empty(), difference + " (as " + checkpoint.folder() +
                                  "; another run needs another run_dir)");
  require_same_data(checkpoint, data_files(data));
  restore(ctx, checkpoint, trainer, config.data.batch);
  start.steps_done = manifest.steps;
  start.skipped_steps = manifest.skipped_steps;
  require(hash_of(trainer.model().weights()) == manifest.digest,
          checkpoint.folder() +
              ": the weights read aren't those of the step's digest");
}

void take_weights_of(const RunConfig& config, ParameterStore& weights,
                     const std::function<void(const std::string&)>& say) {
  if (is_hf_folder(config.init_from)) {
    require_model(config, read_hf_config(config.init_from).model);
    return read_hf_weights(config.init_from, weights);
  }
  require_hf_weights(config.init_from);
  const CheckpointReader checkpoint = open_checkpoint(config.init_from, say);
  require_same_parameters(checkpoint.folder(), checkpoint.manifest().parameters,
                          weights.layout().parameters());
  require_model(config, model_of(checkpoint));
  restore_weights(checkpoint, weights);
}

}  // namespace

RunStart start_run(Context& ctx, Communicator& world, const RunConfig& config,
                   const TrainData& data, Trainer& trainer) {
  ParameterStore& weights = trainer.model().weights();
  RunStart start;
  uint64_t state_hash = 0;
  prepare_together(world, [&] {
    if (resumes(world, config.run_dir)) {
      return resume(ctx, open_checkpoint_together(world, config.run_dir, tell),
                    config, data, trainer, start);
    }
    if (!config.run_dir.empty() && world.rank() == 0) {
      write_file(config.run_dir + "/config.textproto", to_text(config));
    }
    initialise(config.model, config.train.seed, weights);
    const auto say = [&](const std::string& line) {
      if (world.rank() == 0) tell(line);
    };
    if (!config.init_from.empty()) take_weights_of(config, weights, say);
    if (config.data.start_state.empty()) return;
    start_from_state(ctx, config.data.start_state, trainer, config.data.batch);
    state_hash = std::hash<std::string>()(read_text(config.data.start_state));
  });
  // Made on every rank: another processor or library may round differently,
  // another host see other files.
  require_same_on_all_ranks(world, "number of steps done",
                            static_cast<uint64_t>(start.steps_done));
  require_same_on_all_ranks(world, "file data.start_state", state_hash);
  start.digest = hash_of(weights);
  require_same_on_all_ranks(world, "initial weights", start.digest);
  return start;
}

std::vector<Manifest::DataFile> data_files(const TrainData& data) {
  std::vector<Manifest::DataFile> files;
  for (const TrainData::File& file : data.trained_files()) {
    files.push_back({file.path, file.hash});
  }
  return files;
}

}  // namespace timepipe
