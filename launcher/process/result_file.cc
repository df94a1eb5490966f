#include "launcher/process/result_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "launcher/process/standard_output.h"
#include "runtime/error.h"
#include "runtime/files.h"

namespace timepipe {
namespace {

[[noreturn]] void throw_error(const std::string& path, int error) {
  throw IoError(path + ": " + std::strerror(error));
}

// What is the same for all names of a file: device and inode.
using FileId = std::pair<dev_t, ino_t>;

FileId id_of(const struct stat& status) {
  return {status.st_dev, status.st_ino};
}

// Whether a file of a folder is of the model or run there; others, such as
// results of earlier commands, may be replaced.
bool is_of_model(const std::string& name) {
  for (const char* end :
       {".safetensors", ".index.json", ".textproto", ".log"}) {
    if (name.ends_with(end)) return true;
  }
  for (const char* whole : {"manifest.json", "config.json", "metrics.jsonl",
                            "generation_config.json", "lock"}) {
    if (name == whole) return true;
  }
  return name.starts_with("tokenizer");
}

// Whether the file is the one of this name, or one of a model below the folder
// of this name. seen: folders that were looked through; links may lead back to
// them.
bool is_in(const FileId& file, const std::string& path,
           std::set<FileId>& seen) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return false;
  if (S_ISREG(status.st_mode)) return id_of(status) == file;
  if (!S_ISDIR(status.st_mode)) return false;
  if (!seen.insert(id_of(status)).second) return false;
  std::error_code error;
  std::filesystem::directory_iterator entry(path, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!entry->is_directory(error) && !is_of_model(name)) continue;
    if (is_in(file, entry->path().string(), seen)) return true;
  }
  return false;
}

bool is_open_as(const std::string& path, int fd) {
  struct stat named = {}, open = {};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(fd, &open) == 0 &&
         named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

void write_in_place(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) throw_error(path, errno);
  const bool whole =
      std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int error = errno;
  if (std::fclose(file) != 0) throw_error(path, errno);
  if (!whole) throw_error(path, error);
}

}  // namespace

void require_no_input(const std::string& option, const std::string& path,
                      const std::vector<CommandInput>& inputs) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  for (const CommandInput& input : inputs) {
    const std::string& name = input.path == "-" ? "/dev/stdin" : input.path;
    std::set<FileId> seen;
    if (!is_in(id_of(status), name, seen)) continue;
    throw InvalidArgument(
        option + ": " + path + ": " +
        (seen.empty() ? "the file of " : "a file in the folder of ") +
        input.option);
  }
}

void require_replaceable(const std::string& option, const std::string& path,
                         std::vector<CommandInput> inputs) {
  inputs.push_back({"standard output", "/dev/stdout"});
  inputs.push_back({"standard error", "/dev/stderr"});
  require_no_input(option, path, inputs);
}

bool is_standard_output(const std::string& path) {
  return path == "-" || is_open_as(path, STDOUT_FILENO);
}

void require_can_be_written(const std::string& path) {
  struct stat status = {};
  if (is_standard_output(path)) return;
  if (::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
    if (::access(path.c_str(), W_OK) == 0) return;
    if (!S_ISREG(status.st_mode)) throw_error(path, errno);
  }
  require_can_be_made(path);
}

void write_result(const std::string& path, const std::string& text) {
  if (is_standard_output(path)) return write_output(text);
  if (is_open_as(path, STDERR_FILENO)) {  // not to be replaced either
    std::cerr << text << std::flush;
    return;
  }
  std::optional<NewFile> file;
  try {
    file.emplace(path);
  } catch (const IoError&) {  // no file, or none can be made beside it
    return write_in_place(path, text);
  }
  file->append(std::as_bytes(std::span(text)));
  file->commit();
}

}  // namespace timepipe
