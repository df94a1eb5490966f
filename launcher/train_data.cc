#include "launcher/train_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/cross_entropy.h"
#include "launcher/require_tokenizer.h"
#include "runtime/error.h"
#include "runtime/parameter.h"

namespace timepipe {
namespace {

int64_t windows_of(int64_t tokens, int64_t length) {
  return tokens < 1 ? 0 : (tokens - 1) / length;  // the last is only a label
}

void require_supported(const DataConfig& config) {
  require(config.documents == Documents::kJoined,
          "data.documents: expected joined, others are not built yet");
  require(!config.carry_state,
          "data.carry_state: true, expected false: not built yet");
}

}  // namespace

TrainData::TrainData(const RunConfig& config)
    : config_(config.data), vocab_size_(config.model.vocab_size) {
  require_supported(config_);
  require(!config_.train.empty(),
          "data.train: expected the path of one file at least");
  const int64_t length = config_.sequence_length;
  const StoredToken raw = config_.token_type == TokenType::kUint16
                              ? StoredToken::kU16
                              : StoredToken::kU32;
  int64_t windows = 0;
  for (const std::string& path : config_.train) {
    const TokenFile file(path, raw);
    require_tokenizer(file.layout(), path, config_.tokenizer);
    const bool text =
        file.layout().type == StoredToken::kU8 && file.layout().begin == 0;
    require(!text || vocab_size_ >= 256,
            "model.vocab_size: " + std::to_string(vocab_size_) +
                ", expected at least 256: tokens are bytes");
    const int64_t tokens = file.num_tokens();
    const auto kept = static_cast<int64_t>(
        std::floor(static_cast<double>(tokens) * config_.held_out));
    const int64_t trained = tokens - std::clamp<int64_t>(kept, 0, tokens);
    require(trained > length,
            "data.train: " + path + ": " + std::to_string(trained) +
                " tokens, expected more than data.sequence_length = " +
                std::to_string(length));
    sources_.push_back({file, trained, windows_of(trained, length),
                        windows_of(tokens - trained, length)});
    windows += sources_.back().windows;
    num_held_out_ += sources_.back().held_out;
  }
  require(config.eval.every == 0 || config.eval.sequences <= num_held_out_,
          "eval.sequences: " + std::to_string(config.eval.sequences) +
              ", expected at most " + std::to_string(num_held_out_) +
              ", the windows of data.sequence_length in what data.held_out "
              "keeps");
  if (!config_.train_weights.empty()) {
    make_cycle(config_.train_weights);
  } else {
    orders_.emplace_back(windows + 1, 1, config_.seed);
  }
}

void TrainData::make_cycle(const std::vector<double>& weights) {
  require(weights.size() == sources_.size(),
          "data.train_weights: " + std::to_string(weights.size()) +
              " values, expected one for each of " +
              std::to_string(sources_.size()) + " file(s)");
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  turns_in_cycle_.assign(weights.size(), 0);
  for (int64_t slot = 0; slot < kCycle; ++slot) {
    // The file that lags most behind its share; the first of equal ones.
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
            "data.train_weights: " + std::to_string(weights[f]) + " of " +
                std::to_string(sum) + ", expected a share of 1/" +
                std::to_string(kCycle) + " at least");
    orders_.emplace_back(sources_[f].windows + 1, 1, config_.seed + f);
  }
}

TrainData::Place TrainData::place(int64_t index) const {
  const int64_t length = config_.sequence_length;
  if (!turn_.empty()) {
    const std::size_t slot = index % kCycle, f = turn_[slot];
    const int64_t visit =
        index / kCycle * turns_in_cycle_[f] + turns_before_[slot];
    return {f, orders_[f].first_token(visit) * length};
  }
  int64_t window = orders_.front().first_token(index);
  std::size_t f = 0;
  while (window >= sources_[f].windows) window -= sources_[f++].windows;
  return {f, window * length};
}

Sequence TrainData::sequence(const Place& place, double sequence_weight) const {
  std::vector<int64_t> ids(config_.sequence_length + 1);
  sources_[place.source].file.read(place.first, ids, vocab_size_);
  Sequence sequence = make_sequence(ids, 0);
  if (config_.loss == Loss::kJax) {
    std::ranges::replace(sequence.targets, config_.bos_id, kIgnoredTarget);
  }
  const int64_t labels =
      sequence.tokens() - std::ranges::count(sequence.targets, kIgnoredTarget);
  // Without a label the sequence adds nothing.
  sequence.loss_scale =
      labels == 0 ? 0 : sequence_weight / static_cast<double>(labels);
  return sequence;
}

Batch TrainData::batch(int64_t step) const {
  // Sequences of one length without masks: the mean over sequences is the mean
  // over all labels.
  const double weight = 1.0 / static_cast<double>(config_.batch);
  Batch batch;
  for (int64_t s = 0; s < config_.batch; ++s) {
    batch.push_back(sequence(place(step * config_.batch + s), weight));
    if (config_.loss == Loss::kTokenMean) {  // rounded once
      batch.back().loss_scale =
          1.0 / static_cast<double>(config_.sequence_length * config_.batch);
    }
  }
  return batch;
}

Sequence TrainData::held_out(int64_t index) const {
  require(0 <= index && index < num_held_out_,
          "held-out window: " + std::to_string(index) +
              ", expected one in [0, " + std::to_string(num_held_out_) + ")");
  std::size_t f = 0;
  while (index >= sources_[f].held_out) index -= sources_[f++].held_out;
  return sequence({f, sources_[f].trained + index * config_.sequence_length},
                  1);
}

uint64_t TrainData::hash() const {
  std::vector<uint64_t> hashes;
  for (const Source& source : sources_) hashes.push_back(source.file.hash());
  return combine_hashes(hashes);
}

}  // namespace timepipe
