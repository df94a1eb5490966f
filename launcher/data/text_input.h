#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/files.h"

namespace timepipe {

// An input of `timepipe data prepare`: a text, or JSON lines.
struct TextInput {
  std::string path;  // or "standard input"
  bool json_lines = false;
  int64_t bytes = 0;  // without a byte order mark
  // What isn't a regular file, such as a pipe: all that it gave.
  std::optional<InputFile> kept = {};

  // Throws IoError naming the path, also if there is less of it than `bytes`.
  InputFile open() const;
};

struct TextInputOptions {
  std::vector<std::string> paths;    // "-": standard input
  std::optional<std::string> field;  // all are JSON lines with this field
  bool any_bytes = false;            // all are texts, whatever they look like
  // What a pipe gives lies beside a file of this name until it is read.
  std::string keep_as;
};

// Looks at all of them before any is read. Throws IoError naming the one that
// can't be read or is empty, InvalidArgument if one is something else, or JSON
// lines without a field under a name that doesn't say so.
std::vector<TextInput> open_inputs(const TextInputOptions& options);

}  // namespace timepipe
