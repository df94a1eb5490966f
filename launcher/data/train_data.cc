// Opens the training files and deals their windows to steps.

#include "launcher/data/train_data.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <utility>

#include "kernels/cross_entropy.h"
#include "launcher/data/file_patterns.h"
#include "launcher/tokenizer/require_tokenizer.h"
#include "runtime/error.h"
#include "runtime/number_text.h"
#include "runtime/parameter.h"
#include "runtime/rng.h"

namespace timepipe {
namespace {

int64_t windows_of(int64_t tokens, int64_t length) {
  return tokens < 1 ? 0 : (tokens - 1) / length;  // the last is only a label
}

}  // namespace

TrainData::TrainData(const RunConfig& config)
    : config_(config.data),
      vocab_size_(config.model.vocab_size),
      mini_batch_size_(config.model.mini_batch_size),
      halo_rows_(config.model.halo_rows()),
      eval_sequences_(config.eval.sequences) {
  open_training(config);
  for (const std::string& entry : config.eval.data) {
    for (const std::string& path : files_of("eval.data", entry)) {
      const TokenFile& file = *open(path);
      held_out_.push_back(make_range(file, 0, file.num_tokens()));
    }
  }
  make_hashes();
  require(
      config.eval.every == 0 || config.eval.sequences <= num_held_out(),
      "eval.sequences: ", config.eval.sequences, ", expected at most ",
      num_held_out(), ", the windows of data.sequence_length in ",
      (config.eval.data.empty() ? "what data.held_out keeps" : "eval.data"));
  require_label("data.train", trained_, windows_in(trained_));
  if (config.eval.every == 0) return;
  require_label(config.eval.data.empty() ? "data.held_out" : "eval.data",
                held_out_, config.eval.sequences);
  for (int64_t i = 0; i < config.eval.sequences; ++i) {
    eval_labels_ += labels(place_in(held_out_, i));
  }
}

void TrainData::make_hashes() {
  std::vector<uint64_t> hashes;
  for (const auto& file : files_) {
    uint64_t hash = file->hash();
    if (config_.documents != Documents::kJoined &&
        !file->layout().documents.empty()) {
      hash = combine_hashes(std::array{hash, file->hash_of_documents()});
    }
    hashes.push_back(hash);
    if (trained_files_.size() == trained_.size()) continue;
    trained_files_.push_back({file->path(), hash, file.get()});
  }
  hash_ = combine_hashes(hashes);
}

const TokenFile* TrainData::open(const std::string& path) {
  files_.push_back(
      std::make_unique<TokenFile>(path, stored_token(config_.token_type)));
  const TokenFile* file = files_.back().get();
  require_tokenizer(file->layout(), path, config_.tokenizer);
  require(file->layout().kind != FileKind::kText || vocab_size_ >= 256,
          "model.vocab_size: ", vocab_size_,
          ", expected at least 256: tokens are bytes");
  require_vocabulary(file->layout(), path, vocab_size_);
  return file;
}

void TrainData::open_training(const RunConfig& config) {
  require(!config_.train.empty(),
          "data.train: expected the path of one file at least");
  const bool joined = config_.documents == Documents::kJoined;
  const int64_t least = joined ? config_.sequence_length : 1;
  for (const std::string& entry : config_.train) {
    for (const std::string& path : files_of("data.train", entry)) {
      const TokenFile& file = *open(path);
      const int64_t tokens = file.num_tokens();
      const int64_t trained =
          tokens - held_out_tokens(tokens, config_.held_out);
      require(trained > least, "data.train: ", path, ": ", trained,
              " tokens, expected more than ",
              (joined ? "data.sequence_length = " : ""), least);
      trained_.push_back(make_range(file, 0, trained));
      if (config.eval.data.empty()) {
        held_out_.push_back(make_range(file, trained, tokens));
      }
    }
    ends_.push_back(trained_.size());
  }
  const int64_t windows = windows_in(trained_);
  require(!config_.carry_state || windows >= config_.batch,
          "data.batch: ", config_.batch, ", expected at most ", windows,
          ", the windows of data.sequence_length in data.train, with "
          "data.carry_state");
  if (!config_.train_weights.empty()) {
    make_cycle(config_.train_weights);
  } else {
    orders_.emplace_back(windows + 1, 1, config_.seed);
  }
}

TrainData::Range TrainData::make_range(const TokenFile& file, int64_t begin,
                                       int64_t end) const {
  const int64_t length = config_.sequence_length;
  if (config_.documents == Documents::kJoined) {
    return {&file, begin, end, windows_of(end - begin, length), std::nullopt};
  }
  SequencePacker packer(
      document_starts(file, begin, end, config_.bos_id, vocab_size_), end,
      length, mini_batch_size_);
  const int64_t windows = packer.num_sequences();
  return {&file, begin, end, windows, std::move(packer)};
}

void TrainData::require_label(const std::string& field,
                              const std::vector<Range>& ranges,
                              int64_t windows) const {
  const bool masks = config_.loss == Loss::kJax;
  for (int64_t window = 0; window < windows; ++window) {
    const Place place = place_in(ranges, window);
    if (labels(place) > 0 && (!masks || sequence(place).labels() > 0)) return;
  }
  const auto others = std::to_string(ranges.size() - 1);
  throw InvalidArgument(
      field + ": " + ranges.front().file->path() +
      (ranges.size() > 1 ? " and " + others + " more" : "") + ": no token of " +
      std::to_string(windows) +
      " window(s) has a label, expected one at least (a document's last token "
      "has none" +
      (masks ? "; with data.loss = jax also none before data.bos_id = " +
                   std::to_string(config_.bos_id)
             : "") +
      ")");
}

int64_t TrainData::windows_in(std::span<const Range> ranges) {
  int64_t windows = 0;
  for (const Range& range : ranges) windows += range.windows;
  return windows;
}

TrainData::Place TrainData::place_in(std::span<const Range> ranges,
                                     int64_t window) {
  std::size_t r = 0;
  while (window >= ranges[r].windows) window -= ranges[r++].windows;
  return {&ranges[r], window};
}

std::span<const TrainData::Range> TrainData::ranges_of(
    std::size_t entry) const {
  const std::size_t begin = entry == 0 ? 0 : ends_[entry - 1];
  return std::span(trained_).subspan(begin, ends_[entry] - begin);
}

void TrainData::make_cycle(const std::vector<double>& weights) {
  require(weights.size() == ends_.size(),
          "data.train_weights: ", weights.size(),
          " values, expected one for each of ", ends_.size(),
          " entries of data.train");
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  turns_in_cycle_.assign(weights.size(), 0);
  for (int64_t slot = 0; slot < kCycle; ++slot) {
    // The entry that lags most behind its share; the first of equal ones.
    std::size_t next = 0;
    double most = -1e300;
    for (std::size_t f = 0; f < weights.size(); ++f) {
      const double lag = weights[f] / sum * static_cast<double>(slot + 1) -
                         static_cast<double>(turns_in_cycle_[f]);
      if (lag > most) {
        most = lag;
        next = f;
      }
    }
    turn_.push_back(next);
    turns_before_.push_back(turns_in_cycle_[next]++);
  }
  for (std::size_t f = 0; f < weights.size(); ++f) {
    require(turns_in_cycle_[f] > 0,
            "data.train_weights: ", significant(weights[f], 6), " of ",
            significant(sum, 6), ", expected a share of 1/", kCycle,
            " at least");
    // Each file's seed is drawn: if they were data.seed + 1, + 2, ..., runs
    // with neighbouring seeds would share some.
    const Rng seeds(config_.seed, "file " + std::to_string(f));
    orders_.emplace_back(windows_in(ranges_of(f)) + 1, 1, seeds.bits(0));
  }
}

TrainData::Place TrainData::place(int64_t index) const {
  if (turn_.empty()) {
    return place_in(trained_, orders_.front().first_token(index));
  }
  const std::size_t slot = index % kCycle, f = turn_[slot];
  const int64_t visit =
      index / kCycle * turns_in_cycle_[f] + turns_before_[slot];
  return place_in(ranges_of(f), orders_[f].first_token(visit));
}

TrainData::Reach TrainData::after(int64_t steps) const {
  const auto share = [](int64_t visits, std::span<const Range> ranges) {
    return static_cast<double>(visits) /
           static_cast<double>(windows_in(ranges));
  };
  const int64_t visits = steps * config_.batch;
  Reach reach{.tokens = visits * config_.sequence_length,
              .epoch = share(visits, trained_),
              .entry_epochs = {}};
  for (std::size_t f = 0; f < turns_in_cycle_.size(); ++f) {
    const auto own =
        visits / kCycle * turns_in_cycle_[f] +
        std::count(turn_.begin(), turn_.begin() + visits % kCycle, f);
    reach.entry_epochs.push_back(share(own, ranges_of(f)));
  }
  return reach;
}

TrainData::Place TrainData::place_in_stretch(int64_t step,
                                             int64_t sequence) const {
  const int64_t windows = windows_in(trained_);
  const int64_t begin = windows * sequence / config_.batch;
  const int64_t end = windows * (sequence + 1) / config_.batch;
  return place_in(trained_, begin + step % (end - begin));
}

// Whether a sequence of a step goes on from that of the step before.
bool TrainData::goes_on(int64_t step, int64_t sequence) const {
  if (step == 0) return !config_.start_state.empty();
  const Place before = place_in_stretch(step - 1, sequence);
  const Place now = place_in_stretch(step, sequence);
  if (now.range != before.range || now.window != before.window + 1) {
    return false;
  }
  return config_.documents != Documents::kReset || !pieces(now).front().starts;
}

TrainData::Place TrainData::place_in_step(int64_t step,
                                          int64_t sequence) const {
  return config_.carry_state ? place_in_stretch(step, sequence)
                             : place(step * config_.batch + sequence);
}

Sequence TrainData::carried(const Place& place, int64_t step, int64_t s) const {
  Sequence result = sequence(place);
  result.hands_on = goes_on(step + 1, s);
  result.continues = goes_on(step, s);
  result.documents.front().resets = !result.continues;
  const PackedPiece first = pieces(place).front();
  // What comes after data.start_state is another text than that of the state.
  if (result.continues && step > 0 && !first.starts) {
    result.ids_before.resize(halo_rows_);
    place.range->file->read(first.first - halo_rows_, result.ids_before,
                            vocab_size_);
  }
  return result;
}

std::vector<PackedPiece> TrainData::pieces(const Place& place) const {
  const Range& range = *place.range;
  if (range.packer) return range.packer->pieces(place.window);
  return {{.row = 0,
           .first = range.begin + place.window * config_.sequence_length,
           .tokens = config_.sequence_length,
           .starts = place.window == 0,
           .ends = false}};
}

int64_t TrainData::labels(const Place& place) const {
  const auto& packer = place.range->packer;
  return packer ? packer->labels(place.window) : config_.sequence_length;
}

// Without loss_scale.
Sequence TrainData::sequence(const Place& place) const {
  Sequence sequence;
  sequence.ids.assign(config_.sequence_length, 0);
  sequence.targets.assign(config_.sequence_length, kIgnoredTarget);
  for (const PackedPiece& piece : pieces(place)) {
    const TokenFile& file = *place.range->file;
    const auto row = static_cast<std::size_t>(piece.row);
    const auto tokens = static_cast<std::size_t>(piece.tokens);
    const auto ids = std::span(sequence.ids).subspan(row, tokens);
    const auto targets = std::span(sequence.targets).subspan(row, tokens);
    file.read(piece.first, ids, vocab_size_);
    std::ranges::copy(ids.subspan(1), targets.begin());
    if (!piece.ends) {
      file.read(piece.first + piece.tokens, targets.last(1), vocab_size_);
    }
    const bool resets =
        piece.row == 0 || config_.documents == Documents::kReset;
    sequence.documents.push_back({piece.row, piece.tokens, resets});
  }
  if (config_.loss == Loss::kJax) {
    std::ranges::replace(sequence.targets, config_.bos_id, kIgnoredTarget);
  }
  return sequence;
}

// Without a label a sequence adds nothing.
void TrainData::set_loss_scales(Batch& batch, int64_t sequences,
                                int64_t labels) const {
  for (Sequence& sequence : batch) {
    const int64_t own = sequence.labels();
    if (own == 0) {
      sequence.loss_scale = 0;
    } else if (config_.loss == Loss::kTokenMean) {
      sequence.loss_scale = 1.0 / static_cast<double>(labels);  // rounded once
    } else {
      sequence.loss_scale =
          1.0 / static_cast<double>(sequences) / static_cast<double>(own);
    }
  }
}

Batch TrainData::batch(int64_t step, const DataShare& share) const {
  Batch batch;
  int64_t all_labels = 0;
  for (int64_t s = 0; s < config_.batch; ++s) {
    const Place place = place_in_step(step, s);
    all_labels += labels(place);
    if (!share.takes(s)) {
      batch.push_back(sequence_elsewhere(config_.sequence_length));
    } else {
      batch.push_back(config_.carry_state ? carried(place, step, s)
                                          : sequence(place));
    }
  }
  set_loss_scales(batch, config_.batch, all_labels);
  return batch;
}

Sequence TrainData::held_out(int64_t index) const {
  require(0 <= index && index < num_held_out(), "held-out window: ", index,
          ", expected one in [0, ", num_held_out(), ")");
  Batch one = {sequence(place_in(held_out_, index))};
  set_loss_scales(one, 1, one.front().labels());
  return one.front();
}

Batch TrainData::held_out_batch(int64_t first, int64_t count,
                                const DataShare& share) const {
  Batch batch;
  for (int64_t i = 0; i < count; ++i) {
    batch.push_back(share.takes(i)
                        ? sequence(place_in(held_out_, first + i))
                        : sequence_elsewhere(config_.sequence_length));
  }
  set_loss_scales(batch, eval_sequences_, eval_labels_);
  return batch;
}

}  // namespace timepipe
