#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "launcher/tokenizer/tokenizer.h"

namespace timepipe {

// Tells how many bytes of text tokens stand for, one token at a time: the bytes
// of any tokens of a text are the sum of theirs.
class TextBytes {
 public:
  // Throws InvalidArgument if the tokenizer makes nothing of a letter.
  explicit TextBytes(Tokenizer& tokenizer);  // which must outlive this

  // Bytes of the text, UTF-8, that `id` stands for behind the id `before`: one
  // if it is a byte, none if it marks where a document starts or ends. The
  // space that a model puts before a text isn't of it; `starts`: a text does
  // with this id, as it does behind every mark. Nothing if the id is that of
  // what the model doesn't know. Throws InvalidArgument naming an id that isn't
  // in the vocabulary.
  std::optional<int64_t> of(int64_t before, int64_t id, bool starts);

 private:
  // Of an id that is no byte, behind the text of `anchor`.
  int64_t behind(const std::vector<int64_t>& anchor, int64_t id);
  int64_t inside(int64_t id);
  bool is_mark(int64_t id);

  Tokenizer& tokenizer_;
  std::vector<int64_t> letter_;                // ids of some text
  std::map<int64_t, int64_t> first_, inside_;  // by id, as far as asked for
};

}  // namespace timepipe
