#include "launcher/data/file_patterns.h"

#include <glob.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "runtime/error.h"

namespace timepipe {

std::vector<std::string> files_of(const std::string& field,
                                  const std::string& entry) {
  std::error_code unknown;
  if (entry.find_first_of("*?[") == std::string::npos ||
      std::filesystem::exists(entry, unknown)) {
    return {entry};
  }
  static thread_local std::string unreadable;  // a folder, and why
  unreadable.clear();
  const auto note = [](const char* folder, int error) {
    unreadable = std::string(folder) + ": " + std::strerror(error);
    return 1;  // no further: nothing is left out silently
  };
  glob_t found = {};
  const int failed = ::glob(entry.c_str(), GLOB_NOSORT, note, &found);
  std::vector<std::string> files(found.gl_pathv,
                                 found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (!unreadable.empty()) {
    throw IoError(field + ": " + entry + ": " + unreadable);
  }
  require(failed == 0 && !files.empty(), field, ": ", entry,
          ": no file matches");
  std::ranges::sort(files);
  return files;
}

}  // namespace timepipe
