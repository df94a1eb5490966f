#pragma once

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace timepipe::testing {

// As a file holds these numbers.
template <class T>
std::string stored_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(T)};
}

// A file with these bytes while this lives.
class TemporaryFile {
 public:
  // name_end: the last part of the file's name, such as ".npy".
  explicit TemporaryFile(std::string_view bytes,
                         const std::string& name_end = "")
      : path_(unused_path().string() + name_end) {
    std::ofstream file(path_, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }

  std::string path() const { return path_.string(); }

  // Different in every process and call.
  static std::filesystem::path unused_path() {
    static std::atomic<int> count{0};
    return std::filesystem::temp_directory_path() /
           ("timepipe_test_" + std::to_string(::getpid()) + "_" +
            std::to_string(count++));
  }

 private:
  std::filesystem::path path_;
};

// Entries of its folder whose names begin with this path's.
inline int entries_beginning_with(const std::filesystem::path& path) {
  int count = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(path.parent_path())) {
    count += entry.path().string().starts_with(path.string()) ? 1 : 0;
  }
  return count;
}

}  // namespace timepipe::testing
