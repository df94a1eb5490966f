#pragma once

#include <cstdint>
#include <span>

namespace timepipe {

// How the sequences of a micro-batch lie in the rows of a chunk: sequence i, a
// member of it, has rows [i * stride, i * stride + tokens).
struct ChunkRows {
  int64_t members, tokens;
  int64_t stride;  // `tokens`, or the next multiple of the inner mini-batch

  int64_t count() const { return (members - 1) * stride + tokens; }
  bool operator==(const ChunkRows&) const = default;
};

// Of so many sequences, in mini-batches of b.
inline ChunkRows chunk_rows(int64_t members, int64_t tokens, int64_t b) {
  return {members, tokens, (tokens + b - 1) / b * b};
}
// Those of a chunk of one sequence.
inline ChunkRows rows_of_one(int64_t tokens) { return {1, tokens, tokens}; }

// A piece of one document inside a chunk. A chunk is a list of segments in
// order; rows between two segments are padding: kernels that mix rows (the
// convolution, the scan) neither read nor write through them, and give them
// zeros.
struct Segment {
  int64_t row;      // first row in the chunk, a multiple of the mini-batch
  int64_t rows;     // real tokens here
  int64_t context;  // tokens of the same document before the chunk; 0: the
                    // document starts at `row`
  bool resets;      // the hidden state restarts from its learned start at `row`
  int64_t member = 0;  // the sequence that it is of

  bool starts_document() const { return context == 0; }
  int64_t end_row() const { return row + rows; }
};

using Segments = std::span<const Segment>;

// Calls f(begin, end) for each run of padding in a chunk of so many rows.
template <class F>
void for_padding(Segments segments, int64_t rows, F&& f) {
  int64_t begin = 0;
  for (const Segment& s : segments) {
    if (begin < s.row) f(begin, s.row);
    begin = s.end_row();
  }
  if (begin < rows) f(begin, rows);
}

}  // namespace timepipe
