#include "runtime/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "runtime/error.h"

namespace timepipe {
namespace {

// Linux writes at most 2 GiB at once.
constexpr std::size_t kMostBytesAtOnce = std::size_t{1} << 30;

[[noreturn]] void throw_errno(const std::string& path) {
  throw IoError(path + ": " + std::strerror(errno));
}

class FileDescriptor {
 public:
  FileDescriptor(const std::string& path, int flags)
      : path_(path), fd_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (fd_ < 0) throw_errno(path);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }

  void write(ConstBytes bytes) const {
    while (!bytes.empty()) {
      const ssize_t written =
          ::write(fd_, bytes.data(), std::min(bytes.size(), kMostBytesAtOnce));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw_errno(path_);
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }

  void sync() const {
    if (::fsync(fd_) != 0) throw_errno(path_);
  }

  // Network file systems report some failures of writing only here.
  void close() {
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) throw_errno(path_);
  }

 private:
  std::string path_;
  int fd_;
};

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const FileDescriptor file(path, O_RDONLY);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) throw_errno(path);
  if (!S_ISREG(status.st_mode)) throw IoError(path + ": not a regular file");
  size_ = static_cast<std::size_t>(status.st_size);
  if (size_ == 0) return;  // nothing to map
  void* bytes = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (bytes == MAP_FAILED) throw_errno(path);
  // The mapping outlives the descriptor.
  bytes_ = {static_cast<const std::byte*>(bytes),
            [bytes, size = size_](const std::byte*) { ::munmap(bytes, size); }};
}

std::string read_text(const std::string& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()),
          file.bytes().size()};
}

void write_file(const std::string& path, std::span<const ConstBytes> pieces) {
  const std::string part = path + ".part";
  try {
    FileDescriptor file(part, O_WRONLY | O_CREAT | O_TRUNC);
    for (const ConstBytes piece : pieces) file.write(piece);
    file.sync();
    file.close();
    if (::rename(part.c_str(), path.c_str()) != 0) throw_errno(path);
  } catch (...) {
    ::unlink(part.c_str());
    throw;
  }
  const auto folder = std::filesystem::path(path).parent_path();
  sync_folder(folder.empty() ? "." : folder.string());
}

void write_file(const std::string& path, const std::string& text) {
  const ConstBytes piece = std::as_bytes(std::span(text));
  write_file(path, std::span(&piece, 1));
}

void sync_folder(const std::string& path) {
  FileDescriptor(path, O_RDONLY | O_DIRECTORY).sync();
}

}  // namespace timepipe
