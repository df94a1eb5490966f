// Restoring a run from a checkpoint: the functions of checkpoint.h besides
// CheckpointWriter.

#include <algorithm>
#include <exception>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/checkpoint/checkpoint.h"
#include "launcher/process/job.h"
#include "models/hidden_state.h"
#include "runtime/finite.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

LayerBorder border_of(const Manifest::Carried& carried) {
  for (const Border border : {Border::kHaloX, Border::kHaloQk}) {
    if (carried.border == name_of(border)) return {border, carried.layer};
  }
  return {Border::kState, carried.layer};
}

// Throws unless the model has the border, of this size, and the batch the
// sequence.
void require_possible(const std::string& where,
                      const Manifest::Carried& carried,
                      const ScheduleShape& shape, DType dtype,
                      int64_t sequences) {
  const auto layers = static_cast<int64_t>(shape.layers.size());
  const LayerBorder border = border_of(carried);
  const bool first_halo = border.border == Border::kHaloX && border.layer == 0;
  const int64_t count =
      carried.layer < layers && !first_halo
          ? shape.layers[carried.layer].bytes(border.border) / size_of(dtype)
          : 0;
  require(carried.sequence < sequences && carried.count == count, where, ": ",
          carried.tensor(), ": ", carried.count, " elements, expected ", count,
          " in one of ", sequences, " sequences (data.batch)");
}

// A sequence carries all borders, or the states alone if a step was skipped
// since they were left.
void require_complete(const std::string& where, const Manifest& manifest,
                      const ScheduleShape& shape) {
  std::set<std::string> there;
  for (const auto& carried : manifest.carried) there.insert(carried.tensor());
  std::set<int64_t> sequences;
  for (Manifest::Carried carried : manifest.carried) {
    if (!sequences.insert(carried.sequence).second) continue;
    for (std::size_t l = 0; l < shape.layers.size(); ++l) {
      carried.layer = static_cast<int64_t>(l);
      for (const Border border :
           {Border::kHaloX, Border::kHaloQk, Border::kState}) {
        if (border == Border::kHaloX && l == 0) continue;
        if (border != Border::kState && carried.steps != manifest.steps) {
          continue;
        }
        if (shape.layers[l].bytes(border) == 0) continue;
        carried.border = name_of(border);
        require(there.contains(carried.tensor()), where, ": ", carried.tensor(),
                ": missing");
      }
    }
  }
}

void restore_carried(Context& ctx, const CheckpointReader& checkpoint,
                     Trainer& trainer, int64_t sequences) {
  const Manifest& manifest = checkpoint.manifest();
  const ScheduleShape shape = trainer.model().schedule_shape();
  std::vector<CarriedState::Border> borders;
  for (const Manifest::Carried& carried : manifest.carried) {
    require_possible(checkpoint.folder(), carried, shape, manifest.dtype,
                     sequences);
    const LayerBorder border = border_of(carried);
    Tensor value;
    if (trainer.carried().takes(carried.sequence)) {
      value = trainer.model().make_borders(ctx, 1, border);
      upload(ctx, checkpoint.read(carried), value);
    }
    borders.push_back({carried.sequence, carried.steps, border, value});
  }
  require_complete(checkpoint.folder(), manifest, shape);
  trainer.carried().restore(borders, sequences);
}

// Elements [begin, end) of `kind` to `out`, which has as many, in its type.
// Throws InvalidArgument naming the parameter unless all are finite there.
void read_finite(Context& ctx, const CheckpointReader& checkpoint,
                 const std::string& kind, int64_t begin, int64_t end,
                 const Tensor& out) {
  for (const Parameter& p : checkpoint.manifest().parameters) {
    const int64_t from = std::max(begin, p.offset);
    const int64_t to = std::min(end, p.offset + p.count);
    if (from >= to) continue;
    const bool whole = to - from == p.count;
    upload_finite(
        ctx, checkpoint.folder() + ": " + kind + "." + p.name,
        [&](int64_t first, int64_t count) {
          return checkpoint.read(kind, from + first, from + first + count);
        },
        out.slice(from - begin, to - begin)
            .reshape(whole ? p.shape : Shape{to - from}));
  }
}

}  // namespace

CheckpointReader open_checkpoint_together(
    Communicator& world, const std::string& path,
    const std::function<void(const std::string&)>& say) {
  std::vector<std::string> folders;
  prepare_together(world, [&] { folders = checkpoint_candidates(path); });
  std::string names;
  for (const std::string& folder : folders) names += folder + "\n";
  require_same_on_all_ranks(world, "list of checkpoints in " + path,
                            std::hash<std::string>()(names));
  for (const std::string& folder : folders) {
    std::optional<CheckpointReader> reader;
    std::string error;
    try {
      reader.emplace(folder);
      reader->verify(world.rank(), world.size());
    } catch (const std::exception& broken) {
      error = broken.what();
    }
    const auto broken = gather_values(world, int64_t{!error.empty()});
    const auto first = std::ranges::find(broken, 1) - broken.begin();
    if (first == std::ssize(broken)) {
      reader->trust();
      return std::move(*reader);
    }
    if (error.empty()) error = folder + ": broken as another rank sees it";
    if (folder == path) throw InvalidArgument(error);
    if (first == world.rank()) say("broken checkpoint passed over: " + error);
  }
  throw_no_checkpoint(path, "a checkpoint, or a run folder with a valid one");
}

void restore_weights(Context& ctx, const CheckpointReader& checkpoint,
                     ParameterStore& weights) {
  const ParameterLayout& layout = weights.layout();
  require_same_parameters(checkpoint.folder(), checkpoint.manifest().parameters,
                          layout.parameters());
  read_finite(ctx, checkpoint, "weights", 0, layout.numel(), weights.flat());
}

void restore_moments(Context& ctx, const CheckpointReader& checkpoint,
                     Trainer& trainer) {
  ShardedOptimizer& optimizer = trainer.optimizer();
  const int rank = trainer.grid().world.rank();
  const int64_t begin = optimizer.shard_begin(rank);
  const int64_t end = optimizer.shard_begin(rank + 1);
  read_finite(ctx, checkpoint, "adam_m", begin, end, optimizer.first_moment());
  read_finite(ctx, checkpoint, "adam_v", begin, end, optimizer.second_moment());
  optimizer.set_updates(checkpoint.manifest().updates);
}

void restore(Context& ctx, const CheckpointReader& checkpoint, Trainer& trainer,
             int64_t sequences) {
  ParameterStore& weights = trainer.model().weights();
  const DType dtype = checkpoint.manifest().dtype;
  require(dtype == weights.dtype(), checkpoint.folder(), ": dtype ",
          name_of(dtype), ", expected that of the run's weights, ",
          name_of(weights.dtype()));
  restore_weights(ctx, checkpoint, weights);
  restore_moments(ctx, checkpoint, trainer);
  restore_carried(ctx, checkpoint, trainer, sequences);
}

void start_from_state(Context& ctx, const std::string& path, Trainer& trainer,
                      int64_t sequences) {
  const std::string where = "data.start_state: " + path;
  const HiddenState state =
      load_hidden_state(ctx, path, trainer.model(), where);
  const int64_t mini_batch = trainer.model().config().mini_batch_size;
  require(state.tokens_read % mini_batch == 0, where, ": ", state.tokens_read,
          " tokens read, expected a multiple of model.mini_batch_size = ",
          mini_batch);
  std::vector<CarriedState::Border> borders;
  for (int64_t s = 0; s < sequences; ++s) {
    for (std::size_t l = 0; l < state.layers.size(); ++l) {
      borders.push_back({.sequence = s,
                         .steps = 0,
                         .border = {Border::kState, static_cast<int64_t>(l)},
                         .value = trainer.carried().takes(s)
                                      ? state.layers[l].state
                                      : Tensor()});
    }
  }
  trainer.carried().restore(borders, sequences);
}

}  // namespace timepipe
