#pragma once

#include <cstdint>
#include <vector>

#include "launcher/config.h"
#include "models/batch.h"
#include "runtime/token_file.h"
#include "runtime/window_order.h"

namespace timepipe {

// The sequences that a run trains on: which ones a step reads is a pure
// function of (data.seed, step), whatever the layout of ranks. Every file is
// cut into windows of data.sequence_length tokens and the label of the last.
// Without data.train_weights an epoch visits each window of all files once, in
// a new order; with them each file has epochs of its own and files take turns
// in a fixed cycle of kCycle windows, so that shares are right to 1 / kCycle.
class TrainData {
 public:
  static constexpr int64_t kCycle = 4096;

  // Throws IoError or InvalidArgument naming the field or file.
  explicit TrainData(const RunConfig& config);

  // All data.batch sequences of a step. Throws InvalidArgument naming file,
  // position and id if an id isn't in the vocabulary.
  Batch batch(int64_t step) const;
  // Windows of the tokens at the files' ends that training never reads.
  int64_t num_held_out() const { return num_held_out_; }
  // The index-th of them, in the files' order; its loss is the mean of its
  // labels.
  Sequence held_out(int64_t index) const;
  // For ranks to compare; what it promises: TokenFile::hash.
  uint64_t hash() const;

 private:
  struct Source {
    TokenFile file;
    int64_t trained;            // tokens [0, trained) are
    int64_t windows, held_out;  // numbers of windows
  };
  struct Place {
    std::size_t source;
    int64_t first;  // token
  };
  // The index-th window since the start of training.
  Place place(int64_t index) const;
  Sequence sequence(const Place& place, double sequence_weight) const;
  void make_cycle(const std::vector<double>& weights);

  DataConfig config_;
  int64_t vocab_size_;
  std::vector<Source> sources_;
  int64_t num_held_out_ = 0;
  // One of all windows, or with weights one of each file's.
  std::vector<WindowOrder> orders_;
  // With weights: whose turn it is, and how many turns it had in this cycle.
  std::vector<std::size_t> turn_;
  std::vector<int64_t> turns_before_, turns_in_cycle_;
};

}  // namespace timepipe
