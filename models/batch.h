#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/chunk_program.h"

namespace timepipe {

// A document packed into a sequence. It starts at a multiple of the mini-batch
// size; rows after its last token up to the next document are padding.
struct Document {
  int64_t first, tokens;  // in the sequence; without padding
  bool resets;  // starts from the learned state; else from the state that the
                // document before left behind
};

struct Sequence {
  std::vector<int64_t> ids;
  std::vector<int64_t> targets;  // kIgnoredTarget: no label
  std::vector<Document> documents;
  double loss_scale;  // weight of each label in the loss of the step
  // Goes on with the hidden state that the same sequence of the step before
  // left, without gradient: its first document then doesn't reset.
  bool continues = false;
  // If that document is the one that the step before ended in: its last tokens,
  // as many as a convolution looks back to.
  std::vector<int64_t> ids_before = {};
  // The same sequence of the next step goes on from this one.
  bool hands_on = false;
  // Its length, if only other ranks have it: all that is known of it here.
  int64_t tokens_elsewhere = 0;

  int64_t tokens() const {
    return ids.empty() ? tokens_elsewhere : static_cast<int64_t>(ids.size());
  }
  int64_t labels() const;
};

// The sequences of a step. A rank needs only those that its data rank takes;
// of the others it must know the length (sequence_elsewhere).
using Batch = std::vector<Sequence>;

// One document, from a text of ids.size() + 1 tokens: the targets are the ids
// shifted by one.
Sequence make_sequence(const std::vector<int64_t>& ids_and_last_target,
                       double loss_scale);

Sequence sequence_elsewhere(int64_t tokens);

int64_t num_chunks(int64_t tokens, int64_t chunk_tokens);

// How the sequences of a batch are cut and put together.
struct ChunkGrid {
  int64_t chunk_tokens;
  int64_t mini_batch_size;  // of the inner learner; divides chunk_tokens
  // Gradients don't cross the border in front of chunks whose index is a
  // multiple of it (truncated back-propagation); 0: they always do.
  int64_t detach_every = 0;
  // So many consecutive sequences, the members of a micro-batch, run side by
  // side as one. The last micro-batch of a batch may be smaller.
  int64_t micro_batch_size = 1;
};

int64_t num_micro_batches(const Batch& batch, const ChunkGrid& grid);
std::span<const Sequence> sequences_of(const Batch& batch, int64_t micro_batch,
                                       const ChunkGrid& grid);
// Of the longest sequence: where others have ended, they have rows of padding.
int64_t num_chunks(std::span<const Sequence> sequences, const ChunkGrid& grid);
// What the order of work depends on.
MicroBatchShape shape_of(std::span<const Sequence> sequences,
                         const ChunkGrid& grid);

// A batch on the chunk grid: for every chunk of a micro-batch the segments of
// its sequences, one after the other, and what crosses its left border for any
// of them.
class ChunkedBatch {
 public:
  ChunkedBatch() = default;
  // Throws InvalidArgument naming sequence, document and what was expected.
  ChunkedBatch(Batch batch, const ChunkGrid& grid);

  const Batch& sequences() const { return batch_; }
  int64_t num_micro_batches() const { return std::ssize(chunks_); }
  int64_t members(int64_t micro_batch) const;
  // The first sequence of a micro-batch.
  int64_t first_sequence(int64_t micro_batch) const {
    return micro_batch * grid_.micro_batch_size;
  }
  // Moves the ids and targets of a sequence out: `ids`, `ids_before`, `targets`
  // of what is returned.
  Sequence take_tokens(int64_t sequence);
  ChunkView view(int64_t micro_batch, int64_t chunk) const;
  // shape_of() of each micro-batch.
  std::vector<MicroBatchShape> shapes() const;

 private:
  struct Chunk {
    int64_t first;
    ChunkRows rows;
    bool detached, takes_state, takes_halo;
    std::vector<Segment> segments;
  };
  friend MicroBatchShape shape_of(std::span<const Sequence>, const ChunkGrid&);
  static std::vector<Chunk> cut(std::span<const Sequence> sequences,
                                const ChunkGrid& grid);
  static MicroBatchShape shape(const std::vector<Chunk>& chunks);

  Batch batch_;
  ChunkGrid grid_{};
  std::vector<std::vector<Chunk>> chunks_;  // [micro_batch][chunk]
};

}  // namespace timepipe
