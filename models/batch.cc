// Lays documents out in sequences and cuts those into chunks.

#include "models/batch.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/cross_entropy.h"
#include "runtime/error.h"

namespace timepipe {
namespace {

// Documents must lie in the sequence in order, without overlap, each from a
// multiple of the mini-batch; the first has nothing to carry on from. What lies
// between them, padding, has no labels.
void check_documents(const Sequence& sequence, std::size_t index,
                     int64_t mini_batch_size) {
  int64_t end = 0;
  const auto require_no_label = [&](int64_t to) {
    for (int64_t t = end; t < to; ++t) {
      require(sequence.targets[t] == kIgnoredTarget,
              "sequence " + std::to_string(index) + ", token " +
                  std::to_string(t) + ": padding has label " +
                  std::to_string(sequence.targets[t]) + ", expected none");
    }
  };
  for (std::size_t d = 0; d < sequence.documents.size(); ++d) {
    const Document& document = sequence.documents[d];
    const std::string where = "sequence " + std::to_string(index) +
                              ", document " + std::to_string(d) + ": ";
    require(document.first % mini_batch_size == 0,
            where + "first token " + std::to_string(document.first) +
                ", expected a multiple of the mini-batch size " +
                std::to_string(mini_batch_size));
    require(document.first >= end && document.tokens >= 1 &&
                document.first + document.tokens <= sequence.tokens(),
            where + "tokens [" + std::to_string(document.first) + "," +
                std::to_string(document.first + document.tokens) +
                "), expected at least one, inside [" + std::to_string(end) +
                "," + std::to_string(sequence.tokens()) + ")");
    require(
        d > 0 || (document.first == 0 && document.resets != sequence.continues),
        where +
            "must start at token 0, from the learned state unless the "
            "sequence goes on with that of the step before");
    require_no_label(document.first);
    end = document.first + document.tokens;
  }
  require_no_label(sequence.tokens());
  require(!sequence.documents.empty(),
          "sequence " + std::to_string(index) + ": has no document");
}

// The documents' pieces in tokens [first, first + tokens).
std::vector<Segment> segments_of(const Sequence& sequence, int64_t first,
                                 int64_t tokens) {
  const auto before = static_cast<int64_t>(sequence.ids_before.size());
  std::vector<Segment> segments;
  for (const Document& document : sequence.documents) {
    const int64_t begin = std::max(document.first, first);
    const int64_t end =
        std::min(document.first + document.tokens, first + tokens);
    if (begin >= end) continue;
    const int64_t context =
        begin - document.first + (document.first == 0 ? before : 0);
    segments.push_back({.row = begin - first,
                        .rows = end - begin,
                        .context = context,
                        .resets = begin == document.first && document.resets});
  }
  return segments;
}

}  // namespace

int64_t Sequence::labels() const {
  return std::ssize(targets) - std::ranges::count(targets, kIgnoredTarget);
}

Sequence make_sequence(const std::vector<int64_t>& ids_and_last_target,
                       double loss_scale) {
  require(ids_and_last_target.size() >= 2,
          "sequence: " + std::to_string(ids_and_last_target.size()) +
              " tokens, expected at least 2 (a token and its label)");
  Sequence sequence;
  sequence.ids.assign(ids_and_last_target.begin(),
                      ids_and_last_target.end() - 1);
  sequence.targets.assign(ids_and_last_target.begin() + 1,
                          ids_and_last_target.end());
  sequence.documents = {{0, sequence.tokens(), true}};
  sequence.loss_scale = loss_scale;
  return sequence;
}

Sequence sequence_elsewhere(int64_t tokens) {
  Sequence sequence{};
  sequence.tokens_elsewhere = tokens;
  return sequence;
}

int64_t num_chunks(int64_t tokens, int64_t chunk_tokens) {
  return (tokens + chunk_tokens - 1) / chunk_tokens;
}

ChunkedBatch::ChunkedBatch(Batch batch, int64_t chunk_tokens,
                           int64_t mini_batch_size, int64_t detach_every)
    : batch_(std::move(batch)) {
  require(chunk_tokens >= 1 && chunk_tokens % mini_batch_size == 0,
          "chunk_tokens: " + std::to_string(chunk_tokens) +
              ", expected a multiple of the mini-batch size " +
              std::to_string(mini_batch_size));
  for (std::size_t s = 0; s < batch_.size(); ++s) {
    const Sequence& sequence = batch_[s];
    require(sequence.targets.size() == sequence.ids.size(),
            "sequence " + std::to_string(s) + ": " +
                std::to_string(sequence.targets.size()) + " targets for " +
                std::to_string(sequence.ids.size()) + " tokens");
    check_documents(sequence, s, mini_batch_size);
    require(sequence.continues || sequence.ids_before.empty(),
            "sequence " + std::to_string(s) +
                ": has tokens before it, but doesn't go on from them");
    chunks_.push_back(cut(sequence, chunk_tokens, detach_every));
  }
}

std::vector<ChunkedBatch::Chunk> ChunkedBatch::cut(const Sequence& sequence,
                                                   int64_t chunk_tokens,
                                                   int64_t detach_every) {
  std::vector<Chunk> chunks;
  const int64_t n = num_chunks(sequence.tokens(), chunk_tokens);
  for (int64_t c = 0; c < n; ++c) {
    const int64_t first = c * chunk_tokens;
    const int64_t tokens = std::min(chunk_tokens, sequence.tokens() - first);
    chunks.push_back({first, tokens, segments_of(sequence, first, tokens),
                      (c == 0 && sequence.continues) ||
                          (detach_every > 0 && c % detach_every == 0)});
  }
  return chunks;
}

Sequence ChunkedBatch::take_tokens(std::size_t sequence) {
  Sequence& kept = batch_.at(sequence);
  kept.tokens_elsewhere = kept.tokens();
  Sequence taken{};
  taken.ids = std::exchange(kept.ids, {});
  taken.ids_before = std::exchange(kept.ids_before, {});
  taken.targets = std::exchange(kept.targets, {});
  return taken;
}

ChunkView ChunkedBatch::view(int64_t sequence, int64_t chunk) const {
  const Chunk& c = chunks_.at(sequence).at(chunk);
  return {sequence, chunk, c.first, c.tokens, c.segments, c.detached};
}

SequenceShape ChunkedBatch::shape(const std::vector<Chunk>& chunks,
                                  bool continues) {
  SequenceShape shape;
  for (const Chunk& c : chunks) {
    const bool empty = c.segments.empty();  // padding only: state passes on
    shape.push_back({.tokens = c.tokens,
                     .takes_state = (c.first > 0 || continues) &&
                                    (empty || !c.segments[0].resets),
                     .takes_halo = !empty && c.segments[0].context > 0,
                     .detached = c.detached});
  }
  return shape;
}

std::vector<SequenceShape> ChunkedBatch::shapes() const {
  std::vector<SequenceShape> shapes;
  for (std::size_t s = 0; s < chunks_.size(); ++s) {
    shapes.push_back(shape(chunks_[s], batch_[s].continues));
  }
  return shapes;
}

SequenceShape shape_of(const Sequence& sequence, int64_t chunk_tokens,
                       int64_t detach_every) {
  return ChunkedBatch::shape(
      ChunkedBatch::cut(sequence, chunk_tokens, detach_every),
      sequence.continues);
}

}  // namespace timepipe
