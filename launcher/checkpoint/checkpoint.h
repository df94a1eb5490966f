#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launcher/checkpoint/checkpoint_files.h"
#include "launcher/checkpoint/shard_write.h"
#include "launcher/config/config.h"
#include "launcher/trainer/trainer.h"

namespace timepipe {

// Saves a run: every rank writes its shard of weights and moments, from a copy
// and while training goes on, and rank 0 commits all by the manifest. At most
// one save is under way, so there is at most one copy. What was whole before
// stays until the next is whole.
class CheckpointWriter {
 public:
  // data: the files that the run is trained on. hugging_face: as in Manifest.
  CheckpointWriter(Context& ctx, Communicator& world, const RunConfig& config,
                   Trainer& trainer, std::vector<Manifest::DataFile> data,
                   std::string hugging_face);
  // On the way out of an error no messages can be sent: waits for the files of
  // all ranks, half a minute and parallel.timeout_seconds at most, says so, and
  // commits a save that is whole by then.
  ~CheckpointWriter();

  enum class Outcome { kNothing, kUnderWay, kCommitted, kFailed };

  // Copies the state after `steps` steps and starts to write it; settles a save
  // that is under way first and returns its outcome. held_out_loss: as in
  // Manifest. Collective.
  Outcome save(int64_t steps, int64_t skipped_steps, uint64_t digest,
               std::optional<double> held_out_loss = std::nullopt);
  // Commits the save under way if all ranks have written, or waits for them.
  // Every rank that failed has printed why. Collective, as long as a save is
  // under way.
  Outcome settle(bool wait);

 private:
  std::vector<Manifest::Piece> pieces_of(int rank) const;
  int64_t num_hashes(int rank) const;  // of its shard
  // Its shard and what it carries, which are there after the event.
  Event copy_to_host(const std::vector<CarriedState::Border>& borders);
  // Learns what every rank carries.
  void gather_carried(const std::vector<CarriedState::Border>& borders);
  int64_t place_in_copy(const Manifest::Piece& piece) const;
  ShardWrite::Shard shard() const;
  std::string pending_folder() const;
  bool commit(const std::vector<WrittenShard>& shards) const;
  void commit_alone(const WrittenShard& own, double seconds) const;
  void remove_old() const;
  void remove_unfinished() const;

  Context& ctx_;
  Communicator& world_;
  const RunConfig& config_;
  Trainer& trainer_;
  std::vector<Manifest::DataFile> data_;
  std::string hugging_face_;
  std::string shard_file_;
  // [3, elements of the shard]: weights, moments.
  std::shared_ptr<HostArray> copy_;
  std::vector<std::vector<Manifest::Carried>> carried_;         // of every rank
  std::vector<std::shared_ptr<const HostArray>> carried_copy_;  // of this one
  Manifest pending_;
  ShardWrite writing_;
};

// As open_checkpoint(), for a file system that all ranks see: each verifies its
// share, and a broken checkpoint is passed over by all and told by the lowest
// rank that sees it. Collective; throws on all ranks or on none.
CheckpointReader open_checkpoint_together(
    Communicator& world, const std::string& path,
    const std::function<void(const std::string&)>& say);

// Sets weights, this rank's moments, their updates and what the sequences of a
// batch carry on. Throws InvalidArgument naming the first difference if the
// checkpoint is of another model or dtype, or what it carries isn't this
// model's.
void restore(Context& ctx, const CheckpointReader& checkpoint, Trainer& trainer,
             int64_t sequences);

// Lets the first step's sequences go on from a hidden-state file. Throws
// IoError or InvalidArgument naming the file and what was expected.
void start_from_state(Context& ctx, const std::string& path, Trainer& trainer,
                      int64_t sequences);

// The weights alone; f32 and f64 are converted. Throws InvalidArgument naming
// the first parameter that is another or holds a number that isn't finite.
void restore_weights(Context& ctx, const CheckpointReader& checkpoint,
                     ParameterStore& weights);

// This rank's moments and their updates alone, likewise. The parameters must be
// the same.
void restore_moments(Context& ctx, const CheckpointReader& checkpoint,
                     Trainer& trainer);

}  // namespace timepipe
