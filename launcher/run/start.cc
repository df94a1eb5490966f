// Starts a run anew or from a checkpoint, and refuses what isn't this run's.

#include "launcher/run/start.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/config/config_text.h"
#include "launcher/huggingface/hf_folder.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "models/build.h"
#include "runtime/files.h"
#include "runtime/list_text.h"

namespace timepipe {
namespace {

// That of init_from must be this run's, but for how weights start.
void require_model(const RunConfig& config, ModelConfig model) {
  model.initializer_range = config.model.initializer_range;
  model.conv_init = config.model.conv_init;
  RunConfig other = config;
  other.model = model;
  const std::string difference = first_difference(config, other);
  require(difference.empty(), difference, " (init_from ", config.init_from,
          ": another model)");
}

// The paths of those whose data aren't among `others`, "" if there are none.
std::string names_of_new(const std::vector<Manifest::DataFile>& files,
                         const std::vector<Manifest::DataFile>& others) {
  std::set<uint64_t> hashes;
  for (const Manifest::DataFile& file : others) hashes.insert(file.hash);
  std::vector<std::string> names;
  for (const Manifest::DataFile& file : files) {
    if (!hashes.contains(file.hash)) names.push_back(file.path);
  }
  return first_few(names);
}

// Paths don't count, the tokens and the order of the files do.
void require_same_data(const CheckpointReader& checkpoint,
                       const TrainData& data) {
  const auto& before = checkpoint.manifest().data;
  auto now = data_files(data);
  for (std::size_t f = 0; f < now.size() && before.front().of_bytes; ++f) {
    now[f].hash = data.trained_files()[f].file->hash_of_bytes();
  }
  const std::string added = names_of_new(now, before);
  const std::string missing = names_of_new(before, now);
  require(added.empty(), "data.train: ", added, ": not what ",
          checkpoint.folder(), " was trained on",
          (missing.empty() ? "" : ", expected the tokens of " + missing));
  require(missing.empty(), "data.train: expected the tokens of ", missing,
          ", too, as ", checkpoint.folder(), " was trained on");
  for (std::size_t f = 0; f < std::max(now.size(), before.size()); ++f) {
    const bool same =
        f < now.size() && f < before.size() && now[f].hash == before[f].hash;
    require(same, "data.train: file ", f + 1, ": ",
            (f < now.size() ? now[f].path : "none"), ", expected ",
            (f < before.size() ? "the tokens of " + before[f].path : "none"),
            ": the order is that of ", checkpoint.folder());
  }
}

// The configuration of a checkpoint with today's names of the same things:
// where the data lie, if they are known by their tokens, and the tokenizer, if
// the data say which it is.
RunConfig renamed(RunConfig before, const Manifest& manifest,
                  const RunConfig& now, const TrainData& data) {
  if (manifest.data.empty()) return before;
  before.data.train = now.data.train;
  const bool known = std::ranges::all_of(
      data.trained_files(), [](const TrainData::File& trained) {
        return trained.file->layout().metadata.contains(
            "tokenizer_fingerprint");
      });
  if (known) before.data.tokenizer = now.data.tokenizer;
  return before;
}

// Collective: all ranks must see the same folder.
bool resumes(Communicator& world, const std::string& run_dir) {
  if (run_dir.empty()) return false;
  uint64_t found = 0;
  prepare_together(world, [&] { found = list_checkpoints(run_dir).size(); });
  require_same_on_all_ranks(world, "number of checkpoints in " + run_dir,
                            found);
  return found > 0;
}

void resume(Context& ctx, const CheckpointReader& checkpoint,
            const RunConfig& config, const TrainData& data, Trainer& trainer,
            RunStart& start) {
  const Manifest& manifest = checkpoint.manifest();
  const RunConfig before = config_from_text(
      manifest.configuration, checkpoint.folder() + "/manifest.json");
  const std::string difference =
      first_difference(config, renamed(before, manifest, config, data));
  require(difference.empty(), difference, " (as ", checkpoint.folder(),
          "; another run needs another run_dir)");
  start.device_before = before.device;
  if (!manifest.data.empty()) require_same_data(checkpoint, data);
  restore(ctx, checkpoint, trainer, config.data.batch);
  start.steps_done = manifest.steps;
  start.skipped_steps = manifest.skipped_steps;
  start.held_out_loss = manifest.held_out_loss;
  start.hugging_face = manifest.hugging_face;
  require(digest_of(ctx, trainer.model().weights()) == manifest.digest,
          checkpoint.folder(),
          ": the weights read aren't those of the step's digest");
}

// Sets weights, and moments with init_optimizer. Returns what the weights once
// came with, as RunStart::hugging_face.
std::string start_from(Context& ctx, const RunConfig& config, Trainer& trainer,
                       const std::function<void(const std::string&)>& say) {
  ParameterStore& weights = trainer.model().weights();
  if (is_hf_folder(config.init_from)) {
    require(!config.init_optimizer,
            "init_optimizer: true, expected false: ", config.init_from,
            " is a Hugging Face folder, which has no moments");
    const HfConfig hf = read_hf_config(config.init_from);
    require_model(config, hf.model);
    read_hf_weights(ctx, config.init_from, weights, say);
    return hf_config_text(hf, "float32");
  }
  require_hf_weights(config.init_from);
  const CheckpointReader checkpoint = open_checkpoint(config.init_from, say);
  const Manifest& manifest = checkpoint.manifest();
  require_model(config, config_from_text(manifest.configuration,
                                         checkpoint.folder() + "/manifest.json")
                            .model);
  restore_weights(ctx, checkpoint, weights);
  if (config.init_optimizer) {
    require(manifest.updates > 0,
            "init_optimizer: true, expected false: ", checkpoint.folder(),
            " has moments of no update");
    restore_moments(ctx, checkpoint, trainer);
  }
  return manifest.hugging_face;
}

// Fields that say how a run begins, in one that goes on.
void tell_unread(const RunConfig& config, const std::string& checkpoint) {
  const std::pair<const char*, const std::string&> fields[] = {
      {"init_from", config.init_from},
      {"data.start_state", config.data.start_state}};
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    tell(std::string(name) + " isn't read: the run goes on from " + checkpoint);
  }
}

// The kinds of device round differently.
void tell_another_device(const std::string& before, const std::string& now) {
  if (device_named(before)->kind == device_named(now)->kind) return;
  tell("device: " + now + " goes on from what was computed on " + before +
       ", in other last digits than " + before + " would");
}

}  // namespace

RunStart start_run(Context& ctx, Communicator& world, const RunConfig& config,
                   const TrainData& data, Trainer& trainer) {
  ParameterStore& weights = trainer.model().weights();
  RunStart start;
  uint64_t state_hash = 0;
  std::string goes_on_from;  // a checkpoint of this run
  prepare_together(world, [&] {
    if (resumes(world, config.run_dir)) {
      const auto own = open_checkpoint_together(world, config.run_dir, tell);
      goes_on_from = own.folder();
      return resume(ctx, own, config, data, trainer, start);
    }
    initialise(ctx, config.model, config.train.seed, weights);
    const auto say = [&](const std::string& line) {
      if (world.rank() == 0) tell(line);
    };
    if (!config.init_from.empty()) {
      start.hugging_face = start_from(ctx, config, trainer, say);
    }
    if (config.data.start_state.empty()) return;
    start_from_state(ctx, config.data.start_state, trainer, config.data.batch);
    state_hash = std::hash<std::string>()(read_text(config.data.start_state));
  });
  // Made on every rank: another processor or library may round differently,
  // another host see other files.
  require_same_on_all_ranks(world, "number of steps done",
                            static_cast<uint64_t>(start.steps_done));
  require_same_on_all_ranks(world, "file data.start_state", state_hash);
  require_same_on_all_ranks(
      world, "number of updates of the moments",
      static_cast<uint64_t>(trainer.optimizer().updates()));
  start.digest = digest_of(ctx, weights);
  require_same_on_all_ranks(world, "initial weights", start.digest);
  prepare_together(world, [&] {  // only what was not refused
    if (config.run_dir.empty() || world.rank() != 0) return;
    write_file(config.run_dir + "/config.textproto", to_text(config));
    if (goes_on_from.empty()) return;
    tell_unread(config, goes_on_from);
    tell_another_device(start.device_before, config.device);
  });
  return start;
}

std::vector<Manifest::DataFile> data_files(const TrainData& data) {
  std::vector<Manifest::DataFile> files;
  for (const TrainData::File& file : data.trained_files()) {
    files.push_back({.path = file.path, .hash = file.hash});
  }
  return files;
}

}  // namespace timepipe
