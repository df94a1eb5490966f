// Saving a run: CheckpointWriter. Restoring is in checkpoint_restore.cc.

#include "launcher/checkpoint/checkpoint.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "launcher/checkpoint/best.h"
#include "launcher/config/config_text.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "runtime/files.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

std::string shard_name(int rank, int ranks) {
  char name[64];
  std::snprintf(name, sizeof(name), "shard-%05d-of-%05d.safetensors", rank,
                ranks);
  return name;
}

void report_failure(int rank, const std::string& error) {
  tell("rank " + std::to_string(rank) + ": checkpoint not saved: " + error);
}

}  // namespace

CheckpointWriter::CheckpointWriter(Context& ctx, Communicator& world,
                                   const RunConfig& config, Trainer& trainer,
                                   std::vector<Manifest::DataFile> data,
                                   std::string hugging_face)
    : ctx_(ctx),
      world_(world),
      config_(config),
      trainer_(trainer),
      data_(std::move(data)),
      hugging_face_(std::move(hugging_face)),
      shard_file_(shard_name(world.rank(), world.size())) {}

CheckpointWriter::~CheckpointWriter() {
  if (!writing_.under_way()) return;
  constexpr double kMostSeconds = 30;
  const double seconds =
      std::min(kMostSeconds, config_.parallel.timeout_seconds);
  const std::string rank = "rank " + std::to_string(world_.rank());
  const std::string save =
      "the checkpoint of step " + std::to_string(pending_.steps);
  if (!writing_.done_within(0)) {
    std::ostringstream limit;
    limit << seconds;
    tell(rank + ": waits up to " + limit.str() + " s for " + save);
  }
  if (!writing_.done_within(seconds)) {
    tell(rank + ": " + save + " isn't saved: " + pending_folder() +
         " can't be written in time");
  } else if (std::uncaught_exceptions() > 0) {
    try {
      commit_alone(writing_.take(), seconds);
    } catch (const std::exception& error) {
      report_failure(world_.rank(), error.what());
    }
  }
}

// For an end without messages, some ranks being gone: one of the ranks that
// come here commits. The others wait for that, because the first rank that
// exits ends all.
void CheckpointWriter::commit_alone(const WrittenShard& own,
                                    double seconds) const {
  using Clock = std::chrono::steady_clock;
  if (!own.error.empty()) return report_failure(world_.rank(), own.error);
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  const std::string folder = pending_folder();
  // Waits until it is there or the save is committed; false if time ran out.
  const auto wait_for = [&](const auto& it_is_there) {
    while (!fs::exists(folder + "/manifest.json") && !it_is_there()) {
      if (Clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  };
  std::vector<WrittenShard> shards(static_cast<std::size_t>(world_.size()));
  for (int rank = 0; rank < world_.size(); ++rank) {
    WrittenShard& shard = shards[static_cast<std::size_t>(rank)];
    if (rank == world_.rank()) shard = own;
    const bool there = wait_for([&] {
      if (rank != world_.rank()) {
        shard = read_note(folder, shard_name(rank, world_.size()));
      }
      return std::ssize(shard.hashes) == num_hashes(rank);
    });
    if (there) continue;
    return report_failure(world_.rank(), "rank " + std::to_string(rank) +
                                             " hasn't written its part");
  }
  if (fs::exists(folder + "/manifest.json")) return;
  std::FILE* const mine = std::fopen((folder + "/committing").c_str(), "wx");
  if (mine == nullptr) {
    wait_for([] { return false; });
    return;
  }
  std::fclose(mine);
  if (!fs::exists(folder + "/manifest.json") && commit(shards)) {
    tell("rank " + std::to_string(world_.rank()) + ": saved the state after " +
         std::to_string(pending_.steps) + " steps all the same");
  }
  std::error_code ignored;
  fs::remove(folder + "/committing", ignored);
}

// Cut where parameters end.
std::vector<Manifest::Piece> CheckpointWriter::pieces_of(int rank) const {
  const int64_t begin = trainer_.optimizer().shard_begin(rank);
  const int64_t end = trainer_.optimizer().shard_begin(rank + 1);
  std::vector<Manifest::Piece> pieces;
  for (const std::string& kind : Manifest::kinds()) {
    for (const Parameter& p :
         trainer_.model().weights().layout().parameters()) {
      const int64_t from = std::max(begin, p.offset);
      const int64_t to = std::min(end, p.offset + p.count);
      if (from >= to) continue;
      pieces.push_back({.kind = kind,
                        .parameter = p.name,
                        .first = from - p.offset,
                        .count = to - from,
                        .shard = 0,
                        .xxh64 = 0});
    }
  }
  return pieces;
}

int64_t CheckpointWriter::num_hashes(int rank) const {
  return std::ssize(pieces_of(rank)) +
         std::ssize(carried_[static_cast<std::size_t>(rank)]);
}

// Its first element there. Between parameters the flat buffer may have gaps.
int64_t CheckpointWriter::place_in_copy(const Manifest::Piece& piece) const {
  const ParameterLayout& layout = trainer_.model().weights().layout();
  const Parameter& p = layout.parameters()[static_cast<std::size_t>(
      layout.index_of(piece.parameter))];
  const auto kind = std::ranges::find(Manifest::kinds(), piece.kind) -
                    Manifest::kinds().begin();
  return kind * copy_->shape()[1] + p.offset + piece.first -
         trainer_.optimizer().shard_begin(world_.rank());
}

Event CheckpointWriter::copy_to_host(
    const std::vector<CarriedState::Border>& borders) {
  carried_copy_.clear();
  for (const CarriedState::Border& border : borders) {
    const auto to = std::make_shared<HostArray>(
        ctx_.pinned({border.value.numel()}, border.value.dtype()));
    download_later(ctx_, border.value, to->bytes());
    carried_copy_.push_back(to);
  }
  ShardedOptimizer& optimizer = trainer_.optimizer();
  const Tensor weights = trainer_.model().weights().flat().slice(
      optimizer.shard_begin(world_.rank()),
      optimizer.shard_begin(world_.rank() + 1));
  if (copy_ == nullptr) {
    copy_ = std::make_shared<HostArray>(
        ctx_.pinned({3, weights.numel()}, weights.dtype()));
  }
  const auto size = static_cast<std::size_t>(weights.size_bytes());
  const Bytes to = copy_->bytes();
  download_later(ctx_, weights, to.first(size));
  download_later(ctx_, optimizer.first_moment(), to.subspan(size, size));
  return download_later(ctx_, optimizer.second_moment(), to.last(size));
}

void CheckpointWriter::gather_carried(
    const std::vector<CarriedState::Border>& borders) {
  constexpr int64_t kNumbers = 5;  // of a border
  std::vector<int64_t> own;
  for (const CarriedState::Border& border : borders) {
    own.insert(own.end(), {border.sequence, border.border.layer,
                           static_cast<int64_t>(border.border.border),
                           border.steps, border.value.numel()});
  }
  const auto counts = gather_values(world_, std::ssize(own));
  const auto all = gather_values(world_, own, counts);
  carried_.assign(counts.size(), {});
  auto next = all.begin();
  for (std::size_t rank = 0; rank < counts.size(); ++rank) {
    for (int64_t i = 0; i < counts[rank] / kNumbers; ++i, next += kNumbers) {
      carried_[rank].push_back({.sequence = next[0],
                                .layer = next[1],
                                .border = name_of(static_cast<Border>(next[2])),
                                .steps = next[3],
                                .count = next[4],
                                .shard = 0,
                                .xxh64 = 0});
    }
  }
}

CheckpointWriter::Outcome CheckpointWriter::save(
    int64_t steps, int64_t skipped_steps, uint64_t digest,
    std::optional<double> held_out_loss) {
  const Outcome before = settle(/*wait=*/true);
  const ParameterStore& weights = trainer_.model().weights();
  const auto borders = trainer_.carried().borders();
  const Event copied = copy_to_host(borders);
  if (world_.rank() == 0) {
    std::error_code ignored;
    fs::remove(checkpoint_folder(config_.run_dir, steps) + "/manifest.json",
               ignored);  // of a broken checkpoint
    remove_unfinished();
  }
  gather_carried(borders);  // messages come after: no rank writes before
  pending_ = {};
  pending_.steps = steps;
  pending_.skipped_steps = skipped_steps;
  pending_.updates = trainer_.optimizer().updates();
  pending_.digest = digest;
  pending_.held_out_loss = held_out_loss;
  pending_.dtype = weights.dtype();
  pending_.configuration = to_text(config_);
  pending_.parameters = weights.layout().parameters();
  pending_.data = data_;
  pending_.hugging_face = hugging_face_;
  copied.synchronize();
  writing_ = ShardWrite(shard());
  if (config_.checkpoint.background) return before;
  return std::max(before, settle(/*wait=*/true));
}

ShardWrite::Shard CheckpointWriter::shard() const {
  ShardWrite::Shard shard{.folder = pending_folder(),
                          .file = shard_file_,
                          .items = {},
                          .memory = carried_copy_,
                          .leaves_note = world_.size() > 1};
  shard.memory.push_back(copy_);
  const char* const dtype = copy_->dtype() == DType::kF64 ? "F64" : "F32";
  const int64_t element = size_of(copy_->dtype());
  for (const Manifest::Piece& piece : pieces_of(world_.rank())) {
    shard.items.push_back(
        {piece.tensor(),
         dtype,
         {piece.count},
         copy_->bytes().subspan(place_in_copy(piece) * element,
                                piece.count * element)});
  }
  const auto& carried = carried_[world_.rank()];
  for (std::size_t i = 0; i < carried.size(); ++i) {
    shard.items.push_back(
        safetensors_item(carried[i].tensor(), *carried_copy_[i]));
  }
  return shard;
}

CheckpointWriter::Outcome CheckpointWriter::settle(bool wait) {
  if (!writing_.under_way()) return Outcome::kNothing;
  if (wait) writing_.wait();
  if (on_any_rank(world_, !writing_.done_within(0))) return Outcome::kUnderWay;

  const WrittenShard written = writing_.take();
  if (!written.error.empty()) report_failure(world_.rank(), written.error);
  const auto failed = [&] {
    if (world_.rank() == 0) remove_unfinished();
    return Outcome::kFailed;
  };
  if (on_any_rank(world_, !written.error.empty())) return failed();
  std::vector<int64_t> counts;
  counts.reserve(static_cast<std::size_t>(world_.size()));
  for (int rank = 0; rank < world_.size(); ++rank) {
    counts.push_back(1 + num_hashes(rank));
  }
  std::vector<uint64_t> own = {static_cast<uint64_t>(written.size_bytes)};
  own.insert(own.end(), written.hashes.begin(), written.hashes.end());
  const auto all = gather_values(world_, own, counts);
  std::vector<WrittenShard> shards;
  auto next = all.begin();  // of each rank: size, hashes
  for (const int64_t count : counts) {
    shards.push_back({.error = "",
                      .size_bytes = static_cast<int64_t>(*next),
                      .hashes = {next + 1, next + count}});
    next += count;
  }
  const bool committed = world_.rank() != 0 || commit(shards);
  return on_any_rank(world_, !committed) ? failed() : Outcome::kCommitted;
}

std::string CheckpointWriter::pending_folder() const {
  return checkpoint_folder(config_.run_dir, pending_.steps);
}

// Returns whether it succeeded. On one rank.
bool CheckpointWriter::commit(const std::vector<WrittenShard>& shards) const {
  Manifest manifest = pending_;
  for (int rank = 0; rank < world_.size(); ++rank) {
    const auto index = static_cast<int64_t>(manifest.shards.size());
    const WrittenShard& shard = shards[static_cast<std::size_t>(rank)];
    manifest.shards.push_back(
        {shard_name(rank, world_.size()), shard.size_bytes});
    auto next = shard.hashes.begin();  // of its pieces, then of what it carries
    for (Manifest::Piece& piece : pieces_of(rank)) {
      piece.shard = index;
      piece.xxh64 = *next++;
      manifest.pieces.push_back(std::move(piece));
    }
    for (Manifest::Carried carried : carried_[rank]) {
      carried.shard = index;
      carried.xxh64 = *next++;
      manifest.carried.push_back(std::move(carried));
    }
  }
  try {
    write_file(pending_folder() + "/manifest.json", to_json(manifest));
    sync_folder(fs::path(pending_folder()).parent_path().string());
  } catch (const std::exception& error) {
    report_failure(world_.rank(), error.what());
    return false;
  }
  std::error_code ignored;
  for (const Manifest::Shard& shard : manifest.shards) {
    fs::remove(note_of(pending_folder(), shard.file), ignored);
  }
  try {
    remove_old();
  } catch (const std::exception& error) {  // it is saved all the same
    tell(std::string("old checkpoints can't be removed: ") + error.what());
  }
  return true;
}

// Keeps the newest, the best and the milestones. What is removed loses its
// manifest first, so that a kill in between leaves no half checkpoint that
// looks whole.
void CheckpointWriter::remove_old() const {
  const CheckpointConfig& c = config_.checkpoint;
  auto all = list_checkpoints(config_.run_dir);
  // Checkpoints of later steps are broken: else the run would have gone on from
  // one of them.
  std::erase_if(all, [&](const auto& c) { return c.first > pending_.steps; });
  const std::vector<int64_t> best = best_of(all, c.keep_best);
  const auto keep = static_cast<std::size_t>(c.keep_last);
  for (std::size_t i = 0; c.keep_last > 0 && i + keep < all.size(); ++i) {
    const auto& [steps, folder] = all[i];
    if (c.milestone_every > 0 && steps % c.milestone_every == 0) continue;
    if (steps == pending_.steps || std::ranges::count(best, steps)) continue;
    fs::remove(folder + "/manifest.json");
    fs::remove_all(folder);
  }
}

// What a killed run or a failed save left: it may be the room that the next one
// lacks. For when no save is under way.
void CheckpointWriter::remove_unfinished() const {
  try {
    for (const std::string& folder : list_unfinished(config_.run_dir)) {
      fs::remove_all(folder);
    }
  } catch (const std::exception& error) {
    tell(std::string("unfinished checkpoints can't be removed: ") +
         error.what());
  }
}

}  // namespace timepipe
