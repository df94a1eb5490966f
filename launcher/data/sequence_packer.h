#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/token_file.h"

namespace timepipe {

// A piece of a document inside a sequence.
struct PackedPiece {
  int64_t row;            // in the sequence, a multiple of the mini-batch size
  int64_t first, tokens;  // in the file
  bool starts, ends;      // has the document's first, its last token

  bool operator==(const PackedPiece&) const = default;
};

// Lays documents into sequences of `length` positions, one after the other,
// each at the next multiple of the mini-batch size. A document that doesn't fit
// into the rest of a sequence goes on at the start of the next; the last
// sequence may stay partly empty. So every token is in one sequence.
class SequencePacker {
 public:
  // starts: first tokens of the documents, ascending; the last ends before
  // token `end`.
  SequencePacker(std::vector<int64_t> starts, int64_t end, int64_t length,
                 int64_t mini_batch_size);

  int64_t num_sequences() const { return static_cast<int64_t>(begins_.size()); }
  // In the order of rows.
  std::vector<PackedPiece> pieces(int64_t sequence) const;
  // Tokens that another one of their document follows.
  int64_t labels(int64_t sequence) const {
    return labels_.at(static_cast<std::size_t>(sequence));
  }

 private:
  struct Place {
    std::size_t document;
    int64_t token;
  };
  // Fills a sequence from `place` on and leaves it where the next begins.
  std::vector<PackedPiece> fill(Place& place) const;

  std::vector<int64_t> borders_;  // starts of the documents, end of the last
  int64_t length_, mini_batch_size_;
  std::vector<Place> begins_;  // of each sequence
  std::vector<int64_t> labels_;
};

// First tokens of the documents in tokens [begin, end) of a file, `begin` among
// them: as the file lists them, else at every token bos_id. Throws
// InvalidArgument if the file lists none and bos_id is -1.
std::vector<int64_t> document_starts(const TokenFile& file, int64_t begin,
                                     int64_t end, int64_t bos_id,
                                     int64_t vocab_size);

}  // namespace timepipe
