#include "runtime/token_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/error.h"
#include "runtime/rng.h"

namespace timepipe {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void throw_errno(const std::string& path) {
  throw IoError(path + ": " + std::strerror(errno));
}

}  // namespace

TokenReader::TokenReader(const std::string& path) : path_(path) {
  const FileDescriptor file(path);
  if (file.get() < 0) throw_errno(path);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) throw_errno(path);
  if (!S_ISREG(status.st_mode)) throw IoError(path + ": not a regular file");
  if (status.st_size == 0) throw IoError(path + ": empty");
  size_ = status.st_size;
  const auto length = static_cast<std::size_t>(size_);
  void* bytes = ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (bytes == MAP_FAILED) throw_errno(path);
  // The mapping outlives the descriptor.
  bytes_ = {static_cast<const unsigned char*>(bytes),
            [bytes, length](const unsigned char*) { ::munmap(bytes, length); }};
}

void TokenReader::read(int64_t first, std::span<int64_t> ids) const {
  const auto count = static_cast<int64_t>(ids.size());
  require(0 <= first && first <= size_ && count <= size_ - first,
          path_ + ": tokens [" + std::to_string(first) + ", " +
              std::to_string(first) + " + " + std::to_string(count) +
              "), expected a range in [0, " + std::to_string(size_) + ")");
  std::copy_n(bytes_.get() + first, count, ids.begin());
}

WindowOrder::WindowOrder(int64_t num_tokens, int64_t length, uint64_t seed)
    : length_(length), num_windows_(0), seed_(seed) {
  require(length >= 1,
          "window length: " + std::to_string(length) + ", expected 1 or more");
  num_windows_ = (num_tokens - 1) / length;  // the last token is only a label
  require(num_tokens >= 1 && num_windows_ >= 1,
          "tokens: " + std::to_string(num_tokens) +
              ", expected one window of " + std::to_string(length) +
              " and its last label at least");
}

int64_t WindowOrder::first_token(int64_t index) const {
  require(index >= 0,
          "window: " + std::to_string(index) + ", expected 0 or more");
  const int64_t epoch = index / num_windows_;
  const Rng rng(seed_, "window order of epoch " + std::to_string(epoch));
  return permuted_index(rng, index % num_windows_, num_windows_) * length_;
}

}  // namespace timepipe
