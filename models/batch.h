#pragma once

#include <cstdint>
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

// What the order of work depends on of a sequence; detach_every as below.
SequenceShape shape_of(const Sequence& sequence, int64_t chunk_tokens,
                       int64_t detach_every);

// A batch on the chunk grid: for every chunk its segments and what crosses its
// left border.
class ChunkedBatch {
 public:
  ChunkedBatch() = default;
  // detach_every: gradients don't cross the border in front of chunks whose
  // index is a multiple of it (truncated back-propagation); 0: they always do.
  // Throws InvalidArgument naming sequence, document and what was expected.
  ChunkedBatch(Batch batch, int64_t chunk_tokens, int64_t mini_batch_size,
               int64_t detach_every);

  const Batch& sequences() const { return batch_; }
  // Moves the ids and targets of a sequence out: `ids`, `ids_before`, `targets`
  // of what is returned.
  Sequence take_tokens(std::size_t sequence);
  ChunkView view(int64_t sequence, int64_t chunk) const;
  // shape_of() of each sequence.
  std::vector<SequenceShape> shapes() const;

 private:
  struct Chunk {
    int64_t first, tokens;
    std::vector<Segment> segments;
    bool detached;
  };
  friend SequenceShape shape_of(const Sequence&, int64_t, int64_t);
  static std::vector<Chunk> cut(const Sequence& sequence, int64_t chunk_tokens,
                                int64_t detach_every);
  static SequenceShape shape(const std::vector<Chunk>& chunks, bool continues);

  Batch batch_;
  std::vector<std::vector<Chunk>> chunks_;  // [sequence][chunk]
};

}  // namespace timepipe
