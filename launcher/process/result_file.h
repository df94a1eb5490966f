#pragma once

#include <string>
#include <vector>

namespace timepipe {

// Files for results that a person names, such as --json: whatever can be
// written. A file is replaced as NewFile does where that can be done, and
// written in its place where it can't (the folder may not be written); pipes
// and devices are written to; - is standard output.

// Whether the name is that of this process's standard output: -, /dev/stdout,
// or what standard output was redirected to.
bool is_standard_output(const std::string& path);

// What a command reads, by the name that a user gave it: --data, or CHECKPOINT.
struct CommandInput {
  std::string option;
  std::string path;  // file, or folder of models; -: stdin
};

// Before any work: no result may take the place of what it is made of. Throws
// InvalidArgument ("--json: a.txt: the file of --data") if the path is that of
// an input by whatever name, link or hard link. Only regular files count:
// devices and pipes lose nothing.
void require_no_input(const std::string& option, const std::string& path,
                      const std::vector<CommandInput>& inputs);

// For results that take the place of a file even where standard output or
// standard error was redirected to it: throws likewise for those two.
void require_replaceable(const std::string& option, const std::string& path,
                         std::vector<CommandInput> inputs);

// For results of long work: throws IoError naming path and reason if
// write_result(path) would, and makes nothing.
void require_can_be_written(const std::string& path);

// Writes all of the text; waits for the reader of a pipe. Throws IoError naming
// path and reason.
void write_result(const std::string& path, const std::string& text);

}  // namespace timepipe
