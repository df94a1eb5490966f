#pragma once

#include <string>

#include "runtime/token_file.h"

namespace timepipe {

// Throws InvalidArgument naming the file and both tokenizers if the file's
// tokens are known to be of another one than `tokenizer` (data.tokenizer):
// `timepipe data prepare` writes it down, a text's bytes are those of "bytes".
// .bin and .npy don't tell. A sentencepiece model is known by its contents.
void require_tokenizer(const TokenLayout& layout, const std::string& path,
                       const std::string& tokenizer);

// Throws InvalidArgument if the file says that its tokens are of a vocabulary
// larger than vocab_size (model.vocab_size).
void require_vocabulary(const TokenLayout& layout, const std::string& path,
                        int64_t vocab_size);

}  // namespace timepipe
