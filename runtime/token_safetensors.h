#pragma once

#include <string>

#include "runtime/token_layout.h"

namespace timepipe {

// Reads the layout of a safetensors file of tokens that is all of `bytes`: the
// tensor `name`, or if that is empty `tokens` or `input_ids`, whichever comes
// first; integers of any width, of one or two dimensions. A pure function.
// Throws InvalidArgument ("WHERE: what") if it is malformed or has no such
// tensor, naming those that are there.
TokenArray parse_token_tensor(const FileBytes& bytes, const std::string& where,
                              const std::string& name);

// The same of one text, with the tensor `documents` if there is one: where they
// start, integers of any width.
TokenLayout parse_token_safetensors(const FileBytes& bytes,
                                    const std::string& where);

}  // namespace timepipe
