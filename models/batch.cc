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
      require(sequence.targets[t] == kIgnoredTarget, "sequence ", index,
              ", token ", t, ": padding has label ", sequence.targets[t],
              ", expected none");
    }
  };
  for (std::size_t d = 0; d < sequence.documents.size(); ++d) {
    const Document& document = sequence.documents[d];
    const std::string where = "sequence " + std::to_string(index) +
                              ", document " + std::to_string(d) + ": ";
    require(document.first % mini_batch_size == 0, where, "first token ",
            document.first, ", expected a multiple of the mini-batch size ",
            mini_batch_size);
    require(document.first >= end && document.tokens >= 1 &&
                document.first + document.tokens <= sequence.tokens(),
            where, "tokens [", document.first, ",",
            document.first + document.tokens,
            "), expected at least one, inside [", end, ",", sequence.tokens(),
            ")");
    require(
        d > 0 || (document.first == 0 && document.resets != sequence.continues),
        where,
        "must start at token 0, from the learned state unless the "
        "sequence goes on with that of the step before");
    require_no_label(document.first);
    end = document.first + document.tokens;
  }
  require_no_label(sequence.tokens());
  require(!sequence.documents.empty(), "sequence ", index, ": has no document");
}

// The documents' pieces in tokens [first, first + rows.tokens), in the rows of
// a member.
std::vector<Segment> segments_of(const Sequence& sequence, int64_t first,
                                 const ChunkRows& rows, int64_t member) {
  const auto before = static_cast<int64_t>(sequence.ids_before.size());
  std::vector<Segment> segments;
  for (const Document& document : sequence.documents) {
    const int64_t begin = std::max(document.first, first);
    const int64_t end =
        std::min(document.first + document.tokens, first + rows.tokens);
    if (begin >= end) continue;
    const int64_t context =
        begin - document.first + (document.first == 0 ? before : 0);
    segments.push_back({.row = member * rows.stride + begin - first,
                        .rows = end - begin,
                        .context = context,
                        .resets = begin == document.first && document.resets,
                        .member = member});
  }
  return segments;
}

int64_t longest(std::span<const Sequence> sequences) {
  int64_t tokens = 0;
  for (const Sequence& s : sequences) tokens = std::max(tokens, s.tokens());
  return tokens;
}

void check_sequence(const Sequence& sequence, int64_t s,
                    int64_t mini_batch_size) {
  require(sequence.targets.size() == sequence.ids.size(), "sequence ", s, ": ",
          sequence.targets.size(), " targets for ", sequence.ids.size(),
          " tokens");
  check_documents(sequence, s, mini_batch_size);
  require(sequence.continues || sequence.ids_before.empty(), "sequence ", s,
          ": has tokens before it, but doesn't go on from them");
}

// Rows that a next step looks back to are in the last chunk.
void check_lengths(std::span<const Sequence> sequences, int64_t first) {
  for (std::size_t m = 0; m < sequences.size(); ++m) {
    if (!sequences[m].hands_on) continue;
    require(sequences[m].tokens() == longest(sequences), "sequence ",
            first + static_cast<int64_t>(m), ": ", sequences[m].tokens(),
            " tokens of a sequence that goes on in the next step, expected "
            "those of the longest of its micro-batch, ",
            longest(sequences));
  }
}

}  // namespace

int64_t Sequence::labels() const {
  return std::ssize(targets) - std::ranges::count(targets, kIgnoredTarget);
}

Sequence make_sequence(const std::vector<int64_t>& ids_and_last_target,
                       double loss_scale) {
  require(ids_and_last_target.size() >= 2,
          "sequence: ", ids_and_last_target.size(),
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

int64_t num_micro_batches(const Batch& batch, const ChunkGrid& grid) {
  return (std::ssize(batch) + grid.micro_batch_size - 1) /
         grid.micro_batch_size;
}

std::span<const Sequence> sequences_of(const Batch& batch, int64_t micro_batch,
                                       const ChunkGrid& grid) {
  const int64_t first = micro_batch * grid.micro_batch_size;
  const int64_t left = std::ssize(batch) - first;
  return std::span(batch).subspan(first, std::min(grid.micro_batch_size, left));
}

int64_t num_chunks(std::span<const Sequence> sequences, const ChunkGrid& grid) {
  return num_chunks(longest(sequences), grid.chunk_tokens);
}

ChunkedBatch::ChunkedBatch(Batch batch, const ChunkGrid& grid)
    : batch_(std::move(batch)), grid_(grid) {
  const int64_t b = grid.mini_batch_size;
  require(grid.chunk_tokens >= 1 && grid.chunk_tokens % b == 0,
          "chunk_tokens: ", grid.chunk_tokens,
          ", expected a multiple of the mini-batch size ", b);
  for (int64_t s = 0; s < std::ssize(batch_); ++s) {
    check_sequence(batch_[s], s, b);
  }
  for (int64_t i = 0; i < timepipe::num_micro_batches(batch_, grid); ++i) {
    const std::span<const Sequence> sequences = sequences_of(batch_, i, grid);
    check_lengths(sequences, first_sequence(i));
    chunks_.push_back(cut(sequences, grid));
  }
}

std::vector<ChunkedBatch::Chunk> ChunkedBatch::cut(
    std::span<const Sequence> sequences, const ChunkGrid& grid) {
  const int64_t b = grid.mini_batch_size, tokens = longest(sequences);
  const bool continues = std::ranges::any_of(sequences, &Sequence::continues);
  std::vector<Chunk> chunks;
  for (int64_t c = 0; c < timepipe::num_chunks(sequences, grid); ++c) {
    const int64_t first = c * grid.chunk_tokens;
    const int64_t rows = std::min(grid.chunk_tokens, tokens - first);
    const bool truncated = grid.detach_every > 0 && c % grid.detach_every == 0;
    Chunk chunk{.first = first,
                .rows = chunk_rows(std::ssize(sequences), rows, b),
                .detached = truncated || (c == 0 && continues),
                .takes_state = false,
                .takes_halo = false,
                .segments = {}};
    for (int64_t m = 0; m < std::ssize(sequences); ++m) {
      const auto own = segments_of(sequences[m], first, chunk.rows, m);
      const bool padding = own.empty();  // the state passes on
      chunk.takes_state |=
          (c > 0 || sequences[m].continues) && (padding || !own[0].resets);
      chunk.takes_halo |= !padding && own[0].context > 0;
      chunk.segments.insert(chunk.segments.end(), own.begin(), own.end());
    }
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

int64_t ChunkedBatch::members(int64_t micro_batch) const {
  return std::ssize(sequences_of(batch_, micro_batch, grid_));
}

Sequence ChunkedBatch::take_tokens(int64_t sequence) {
  Sequence& kept = batch_.at(sequence);
  kept.tokens_elsewhere = kept.tokens();
  Sequence taken{};
  taken.ids = std::exchange(kept.ids, {});
  taken.ids_before = std::exchange(kept.ids_before, {});
  taken.targets = std::exchange(kept.targets, {});
  return taken;
}

ChunkView ChunkedBatch::view(int64_t micro_batch, int64_t chunk) const {
  const Chunk& c = chunks_.at(micro_batch).at(chunk);
  return {micro_batch, chunk, c.first, c.rows, c.segments, c.detached};
}

MicroBatchShape ChunkedBatch::shape(const std::vector<Chunk>& chunks) {
  MicroBatchShape shape;
  for (const Chunk& c : chunks) {
    shape.push_back({.tokens = c.rows.tokens,
                     .takes_state = c.takes_state,
                     .takes_halo = c.takes_halo,
                     .detached = c.detached,
                     .members = c.rows.members});
  }
  return shape;
}

std::vector<MicroBatchShape> ChunkedBatch::shapes() const {
  std::vector<MicroBatchShape> shapes;
  for (const auto& chunks : chunks_) shapes.push_back(shape(chunks));
  return shapes;
}

MicroBatchShape shape_of(std::span<const Sequence> sequences,
                         const ChunkGrid& grid) {
  return ChunkedBatch::shape(ChunkedBatch::cut(sequences, grid));
}

}  // namespace timepipe
