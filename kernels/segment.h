#pragma once

#include <cstdint>
#include <span>

namespace timepipe {

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

  bool starts_document() const { return context == 0; }
};

using Segments = std::span<const Segment>;

}  // namespace timepipe
