#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/config/config.h"
#include "launcher/data/sequence_packer.h"
#include "models/batch.h"
#include "parallel/process_grid.h"
#include "runtime/token_file.h"
#include "runtime/window_order.h"

namespace timepipe {

// The sequences that a run trains on: which ones a step reads is a pure
// function of (data.seed, step), whatever the layout of ranks. Every file is
// cut into windows, each the tokens of one sequence:
//   joined        data.sequence_length tokens and the label of the last; what
//                 is left at the end is not read
//   reset, carry  what SequencePacker lays into one sequence. The last token of
//                 a document has no label. A piece that goes on from another
//                 window starts afresh there, unless data.carry_state.
// Without data.train_weights an epoch visits each window of all files once, in
// a new order; with them each entry of data.train, a file or all that match a
// pattern, has epochs of its own and entries take turns in a fixed cycle of
// kCycle windows, so that shares are right to 1 / kCycle.
//
// With data.carry_state the windows of all files, in their order, are cut into
// data.batch stretches, and sequence s of every step reads the next window of
// stretch s; from its end it goes back to its start. A sequence goes on from
// the step before, but not from the end of a stretch, nor from another file.
class TrainData {
 public:
  static constexpr int64_t kCycle = 4096;

  // Throws IoError or InvalidArgument naming the field or file.
  explicit TrainData(const RunConfig& config);

  // The data.batch sequences of a step; only those of `share` are read, the
  // others are elsewhere. Throws InvalidArgument naming file, position and id
  // if an id isn't in the vocabulary.
  Batch batch(int64_t step, const DataShare& share = {}) const;

  // How far a run is after a number of steps: a pure function of that.
  struct Reach {
    // Positions of the steps' sequences: input tokens, and the padding behind
    // documents.
    int64_t tokens;
    // Windows that were read, as a share of all that there are: at 1 each was
    // read once, but with data.train_weights. With data.carry_state every
    // sequence has read as much of its stretch, to within a window.
    double epoch;
    // With data.train_weights the same of each entry of data.train and its
    // windows, else empty.
    std::vector<double> entry_epochs;
  };
  Reach after(int64_t steps) const;

  // Windows of eval.data, else of the tokens at the files' ends that training
  // never reads.
  int64_t num_held_out() const { return windows_in(held_out_); }
  // The index-th of them, in the files' order; its loss is the mean of its
  // labels.
  Sequence held_out(int64_t index) const;
  // [first, first + count) of the first eval.sequences of them, of which only
  // those of `share` are read. The losses of all such pieces add up to the loss
  // of the whole as data.loss says.
  Batch held_out_batch(int64_t first, int64_t count,
                       const DataShare& share = {}) const;

  // What is trained on, for checkpoints to remember.
  struct File {
    std::string path;
    // TokenFile::hash, with hash_of_documents if they aren't joined.
    uint64_t hash;
    const TokenFile* file;
  };
  const std::vector<File>& trained_files() const { return trained_files_; }
  // Of all files, for ranks to compare.
  uint64_t hash() const { return hash_; }
  // All that training and evaluation read.
  std::span<const std::unique_ptr<TokenFile>> files() const { return files_; }

 private:
  // Tokens [begin, end) of a file.
  struct Range {
    const TokenFile* file;
    int64_t begin, end;
    int64_t windows;
    std::optional<SequencePacker> packer;  // unless joined
  };
  struct Place {
    const Range* range;
    int64_t window;
  };

  const TokenFile* open(const std::string& path);
  // For checkpoints and for ranks to compare.
  void make_hashes();
  void open_training(const RunConfig& config);
  Range make_range(const TokenFile& file, int64_t begin, int64_t end) const;
  // Throws, naming field and file, unless one of the first windows has a label.
  void require_label(const std::string& field, const std::vector<Range>& ranges,
                     int64_t windows) const;
  static int64_t windows_in(std::span<const Range> ranges);
  // The window-th of all ranges' windows.
  static Place place_in(std::span<const Range> ranges, int64_t window);
  // Those of an entry of data.train.
  std::span<const Range> ranges_of(std::size_t entry) const;
  // The index-th window since the start of training.
  Place place(int64_t index) const;
  void make_cycle(const std::vector<double>& weights);
  // With data.carry_state.
  Place place_in_stretch(int64_t step, int64_t sequence) const;
  bool goes_on(int64_t step, int64_t sequence) const;
  Sequence carried(const Place& place, int64_t step, int64_t sequence) const;

  std::vector<PackedPiece> pieces(const Place& place) const;
  Sequence sequence(const Place& place) const;
  // Labels of a window, those that data.loss masks among them; reads nothing.
  int64_t labels(const Place& place) const;
  Place place_in_step(int64_t step, int64_t sequence) const;
  // For the loss of that many sequences, which have `labels` in all.
  void set_loss_scales(Batch& batch, int64_t sequences, int64_t labels) const;

  DataConfig config_;
  int64_t vocab_size_, mini_batch_size_, halo_rows_;
  std::vector<std::unique_ptr<TokenFile>> files_;
  std::vector<File> trained_files_;
  uint64_t hash_ = 0;
  std::vector<Range> trained_, held_out_;
  int64_t eval_sequences_, eval_labels_ = 0;  // of the evaluation
  std::vector<std::size_t> ends_;  // of each entry's ranges in trained_
  // One of all windows, or with weights one of each entry's.
  std::vector<WindowOrder> orders_;
  // With weights: whose turn it is, and how many turns it had in this cycle.
  std::vector<std::size_t> turn_;
  std::vector<int64_t> turns_before_, turns_in_cycle_;
};

}  // namespace timepipe
