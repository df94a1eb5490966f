#pragma once

#include <functional>
#include <string>

#include "schema/timepipe.pb.h"

namespace timepipe {

// Files of the schema in text format, each laid over the one it names as its
// base.

// Returns the text of the file at `path`; throws IoError.
using ReadText = std::function<std::string(const std::string& path)>;

// The message that `text` stands for, no more. `name` is the file's in errors:
// InvalidArgument "name:line:column: ...".
schema::RunConfig parse_config(const std::string& text,
                               const std::string& name);

// The file at `path` over its base, that over its own, and so on; a list is
// replaced, not added to. `base` is cleared. A base's path is relative to the
// file that names it. Throws IoError for a file that can't be read, and
// InvalidArgument "file:line:column: ...", also for bases that form a cycle or
// a chain of more than 16 files.
schema::RunConfig read_config(const std::string& path, const ReadText& read);

// ReadText of this machine's files, for files of at most 1 MiB.
std::string read_config_text(const std::string& path);

}  // namespace timepipe
