#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "launcher/tokenizer/character_map.h"
#include "runtime/files.h"

namespace timepipe {

// Where a text may be cut so that sentencepiece makes the same ids of the parts
// as of the whole. A part is read after the character before it, whose ids are
// dropped: so the space that a model puts before a text changes nothing.
//
// Of byte-pair models, between two characters that stand side by side in no
// piece: no merge makes a piece across, and which merge comes next on one side
// (by score, then from left to right) doesn't depend on the other. Spaces and
// the sign for them, U+2581, are one character here; a cut after one would lose
// it where models drop spaces at the end of a text. Of models that map
// characters only between two of ASCII: see CharacterMap.
//
// Nowhere if the model
// - is of another type: a unigram model adds the scores of the whole text up in
//   32 bits, whose rounding decides between readings far on;
// - has unused pieces: how these are split is remembered over the text;
// - puts the space at a text's end.
class NeutralCuts {
 public:
  // model: a serialized ModelProto. A pure function of bytes; none are allowed
  // if they can't be read.
  explicit NeutralCuts(std::string_view model);

  bool anywhere() const { return anywhere_; }
  // Whether text may be cut before byte `at`, 0 < at < text.size().
  bool at(std::string_view text, std::size_t at) const;
  // Where a piece of the text that begins at byte `begin` ends: at the last
  // neutral cut in the second half of most_bytes, or else at the first one
  // after, or with the text. window_bytes are looked at at once; their number
  // changes nothing. Throws IoError.
  int64_t piece_end(const FileBytes& text, int64_t begin, int64_t most_bytes,
                    int64_t window_bytes = 1024) const;

 private:
  void read_piece(std::string_view message);
  void read_trainer(std::string_view message);
  bool joins(uint64_t before, uint32_t after) const;
  // Those after byte `after` and up to `last`, which is in the text.
  std::vector<int64_t> cuts_in(const FileBytes& text, int64_t after,
                               int64_t last) const;

  bool anywhere_ = true;
  uint64_t type_ = 0;  // of the model
  CharacterMap map_;
  // Neighbours within pieces, first << 32 | second, sorted.
  std::vector<uint64_t> joined_;
};

}  // namespace timepipe
