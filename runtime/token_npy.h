#pragma once

#include <string>

#include "runtime/token_layout.h"

namespace timepipe {

// Reads the layout of an .npy file (versions 1 to 3 of the format) that is all
// of `bytes`: integers of any width, little-endian, of one or two dimensions,
// in C's order. A pure function. Throws InvalidArgument ("WHERE: what") if it
// is malformed or of another kind; every size is checked before it is used.
TokenArray parse_npy_array(const FileBytes& bytes, const std::string& where);

// The same of one text.
TokenLayout parse_npy(const FileBytes& bytes, const std::string& where);

}  // namespace timepipe
