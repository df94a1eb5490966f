#pragma once

#include <string>

namespace timepipe {

// Files for results that a person names, such as --json: whatever can be
// written. A file is replaced as NewFile does where that can be done, and
// written in its place where it can't (the folder may not be written); pipes
// and devices are written to; - is standard output.

// Whether the name is that of this process's standard output: -, /dev/stdout,
// or what standard output was redirected to.
bool is_standard_output(const std::string& path);

// For results of long work: throws IoError naming path and reason if
// write_result(path) would, and makes nothing.
void require_can_be_written(const std::string& path);

// Writes all of the text; waits for the reader of a pipe. Throws IoError naming
// path and reason.
void write_result(const std::string& path, const std::string& text);

}  // namespace timepipe
