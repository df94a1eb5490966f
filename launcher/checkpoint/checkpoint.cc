#include "launcher/checkpoint/checkpoint.h"

#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>

#include "launcher/config/config_text.h"
#include "launcher/process/job.h"
#include "launcher/process/rank_log.h"
#include "runtime/files.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

std::string shard_name(int rank, int ranks) {
  char name[64];
  std::snprintf(name, sizeof(name), "shard-%05d-of-%05d.safetensors", rank,
                ranks);
  return name;
}

// Whether any rank says so. Collective.
bool on_any_rank(Communicator& world, bool own) {
  const auto all = gather_values(world, int64_t{own});
  return std::ranges::find(all, 1) != all.end();
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
  if (writing_.valid()) writing_.wait();
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

// Its first element there. Between parameters the flat buffer may have gaps.
int64_t CheckpointWriter::place_in_copy(const Manifest::Piece& piece) const {
  const ParameterLayout& layout = trainer_.model().weights().layout();
  const Parameter& p = layout.parameters()[static_cast<std::size_t>(
      layout.index_of(piece.parameter))];
  const auto kind = std::ranges::find(Manifest::kinds(), piece.kind) -
                    Manifest::kinds().begin();
  return kind * copy_.dim(1) + p.offset + piece.first -
         trainer_.optimizer().shard_begin(world_.rank());
}

void CheckpointWriter::copy_carried() {
  constexpr int64_t kNumbers = 5;  // of a border
  carried_copy_.clear();
  std::vector<int64_t> own;
  for (const CarriedState::Border& border : trainer_.carried().borders()) {
    carried_copy_.push_back(copy(ctx_, border.bytes));
    const auto size = static_cast<int64_t>(carried_copy_.back().bytes().size());
    own.insert(own.end(),
               {border.sequence, border.border.layer,
                static_cast<int64_t>(border.border.border), border.steps,
                size / size_of(trainer_.model().weights().dtype())});
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

CheckpointWriter::Outcome CheckpointWriter::save(int64_t steps,
                                                 int64_t skipped_steps,
                                                 uint64_t digest) {
  const Outcome before = settle(/*wait=*/true);
  const ParameterStore& weights = trainer_.model().weights();
  ShardedOptimizer& optimizer = trainer_.optimizer();
  const int64_t begin = optimizer.shard_begin(world_.rank());
  const int64_t end = optimizer.shard_begin(world_.rank() + 1);
  if (copy_.empty()) {
    copy_ = ctx_.allocate({3, end - begin}, weights.dtype());
  }
  const Tensor parts[] = {weights.flat().slice(begin, end),
                          optimizer.first_moment(), optimizer.second_moment()};
  for (int64_t i = 0; i < 3; ++i) {
    std::ranges::copy(std::as_const(parts[i]).bytes(),
                      copy_.slice(i, i + 1).bytes().data());
  }
  copy_carried();
  pending_ = {};
  pending_.steps = steps;
  pending_.skipped_steps = skipped_steps;
  pending_.updates = optimizer.updates();
  pending_.digest = digest;
  pending_.dtype = weights.dtype();
  pending_.configuration = to_text(config_);
  pending_.parameters = weights.layout().parameters();
  pending_.data = data_;
  pending_.hugging_face = hugging_face_;
  writing_ = std::async(std::launch::async, [this] { return write(); });
  if (config_.checkpoint.background) return before;
  return std::max(before, settle(/*wait=*/true));
}

// In a thread of its own: no messages, and of this object only what stays
// until the save is settled.
CheckpointWriter::Written CheckpointWriter::write() const {
  Written written;
  const std::string folder = pending_folder();
  try {
    fs::create_directories(folder);
    std::vector<SafetensorsItem> items;
    const char* const dtype = copy_.dtype() == DType::kF64 ? "F64" : "F32";
    const auto add = [&](const auto& part, ConstBytes bytes) {
      items.push_back({part.tensor(), dtype, {part.count}, bytes});
      written.hashes.push_back(XXH64(bytes.data(), bytes.size(), 0));
    };
    const int64_t element = size_of(copy_.dtype());
    for (const Manifest::Piece& piece : pieces_of(world_.rank())) {
      add(piece, std::as_const(copy_).bytes().subspan(
                     place_in_copy(piece) * element, piece.count * element));
    }
    const auto& carried = carried_[world_.rank()];
    for (std::size_t i = 0; i < carried.size(); ++i) {
      add(carried[i], std::as_const(carried_copy_[i]).bytes());
    }
    const std::string file = folder + "/" + shard_file_;
    write_safetensors(file, items);
    written.size_bytes = static_cast<int64_t>(fs::file_size(file));
  } catch (const std::exception& error) {
    written.error = error.what();
  }
  return written;
}

CheckpointWriter::Outcome CheckpointWriter::settle(bool wait) {
  if (!writing_.valid()) return Outcome::kNothing;
  if (wait) writing_.wait();
  const bool done =
      writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (on_any_rank(world_, !done)) return Outcome::kUnderWay;

  Written written = writing_.get();
  if (!written.error.empty()) report_failure(world_.rank(), written.error);
  if (on_any_rank(world_, !written.error.empty())) {
    std::error_code ignored;
    if (world_.rank() == 0) fs::remove_all(pending_folder(), ignored);
    return Outcome::kFailed;
  }
  std::vector<int64_t> counts;
  counts.reserve(static_cast<std::size_t>(world_.size()));
  for (int rank = 0; rank < world_.size(); ++rank) {
    counts.push_back(1 + static_cast<int64_t>(
                             pieces_of(rank).size() +
                             carried_[static_cast<std::size_t>(rank)].size()));
  }
  std::vector<uint64_t> own = {static_cast<uint64_t>(written.size_bytes)};
  own.insert(own.end(), written.hashes.begin(), written.hashes.end());
  const auto shards = gather_values(world_, own, counts);
  const bool committed = world_.rank() != 0 || commit(shards);
  return on_any_rank(world_, !committed) ? Outcome::kFailed
                                         : Outcome::kCommitted;
}

std::string CheckpointWriter::pending_folder() const {
  return checkpoint_folder(config_.run_dir, pending_.steps);
}

// Returns whether it succeeded. On rank 0.
bool CheckpointWriter::commit(const std::vector<uint64_t>& shards) const {
  Manifest manifest = pending_;
  auto next = shards.begin();  // of each rank: size, hashes of its pieces
  for (int rank = 0; rank < world_.size(); ++rank) {
    const auto index = static_cast<int64_t>(manifest.shards.size());
    manifest.shards.push_back(
        {shard_name(rank, world_.size()), static_cast<int64_t>(*next++)});
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
    report_failure(0, error.what());
    return false;
  }
  try {
    remove_old();
  } catch (const std::exception& error) {  // it is saved all the same
    tell(std::string("old checkpoints can't be removed: ") + error.what());
  }
  return true;
}

// Keeps the newest and the milestones. What is removed loses its manifest
// first, so that a kill in between leaves no half checkpoint that looks whole.
void CheckpointWriter::remove_old() const {
  const CheckpointConfig& c = config_.checkpoint;
  auto all = list_checkpoints(config_.run_dir);
  // Later ones were broken when this run went on from an earlier one.
  std::erase_if(all, [&](const auto& c) { return c.first > pending_.steps; });
  const auto keep = static_cast<std::size_t>(c.keep_last);
  for (std::size_t i = 0; c.keep_last > 0 && i + keep < all.size(); ++i) {
    const auto& [steps, folder] = all[i];
    if (c.milestone_every > 0 && steps % c.milestone_every == 0) continue;
    if (steps == pending_.steps) continue;
    fs::remove(folder + "/manifest.json");
    fs::remove_all(folder);
  }
  for (const std::string& folder : list_unfinished(config_.run_dir)) {
    fs::remove_all(folder);  // what a killed run left
  }
}

CheckpointReader open_checkpoint_together(
    Communicator& world, const std::string& path,
    const std::function<void(const std::string&)>& say) {
  const auto folders = checkpoint_candidates(path);
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
  throw InvalidArgument(path +
                        ": expected a checkpoint, or a run folder with a valid "
                        "one");
}

}  // namespace timepipe
