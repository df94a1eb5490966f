#pragma once

#include <string>

#include "runtime/files.h"
#include "runtime/token_file.h"

namespace timepipe {

// What a .bin without a header can't say about its tokens, as far as it shows.

// Throws InvalidArgument if the first tokens of such a file, read as `raw`, are
// wider ones cut into pieces: every second one 0, as the upper half of a small
// id is, or all bits set, as of a negative one.
void require_width(const FileBytes& bytes, const std::string& where,
                   StoredToken raw);

// Throws InvalidArgument if the file at `path` is a Megatron's or fairseq's:
// its .idx, beside it, says type and documents.
void require_no_index(const std::string& path);

}  // namespace timepipe
