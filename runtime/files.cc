// Opens and reads files; replaces them whole or not at all.

#include "runtime/files.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "runtime/error.h"

namespace timepipe {
namespace {

// Linux writes at most 2 GiB at once.
constexpr std::size_t kMostBytesAtOnce = std::size_t{1} << 30;

[[noreturn]] void throw_errno(const std::string& path) {
  throw IoError(path + ": " + std::strerror(errno));
}

// Lets this process open as many files as it may; returns whether that is more
// than before.
bool raise_open_files() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  if (limit.rlim_cur >= limit.rlim_max) return false;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

struct stat status_of(const std::string& path, int fd) {
  struct stat status = {};
  if (::fstat(fd, &status) != 0) throw_errno(path);
  if (!S_ISREG(status.st_mode)) {
    throw IoError(path + ": not a regular file, such as a pipe or a folder");
  }
  return status;
}

// write(bytes, count) is write() or the like.
template <typename Write>
void write_all(const std::string& path, ConstBytes bytes, Write&& write) {
  while (!bytes.empty()) {
    const ssize_t written =
        write(bytes.data(), std::min(bytes.size(), kMostBytesAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_errno(path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void sync(const std::string& path, int fd) {
  if (::fsync(fd) != 0) throw_errno(path);
}

// Of an open file, with or without a name of its own.
std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Where a file of this name is to be made.
std::string target_of(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    throw IoError(path + ": not a regular file, expected a file or a new name");
  }
  constexpr int kMostLinks = 40;  // of Linux
  fs::path target = path;
  for (int links = 0; fs::is_symlink(fs::symlink_status(target, error));) {
    if (++links > kMostLinks) {
      throw IoError(path + ": too many levels of symbolic links");
    }
    // Relative to its folder, unless it is absolute.
    target = target.parent_path() / fs::read_symlink(target, error);
    if (error) throw IoError(path + ": " + error.message());
  }
  return target.string();
}

// An open file without a name in the folder where `path` is to be made: it goes
// with the process, however that ends. -1 where the file system, or a process
// without /proc, can't have one.
int open_without_name(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path();
  const std::string name = folder.empty() ? "." : folder.string();
  const int fd = ::open(name.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (fd < 0 || ::access(path_of(fd).c_str(), W_OK) == 0) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

FileDescriptor::FileDescriptor(const std::string& path, int flags) {
  const auto open = [&] { return ::open(path.c_str(), flags | O_CLOEXEC); };
  fd_ = open();
  // Data sets and checkpoints of many ranks have thousands of files.
  if (fd_ < 0 && errno == EMFILE && raise_open_files()) fd_ = open();
  if (fd_ < 0) throw_errno(path);
}

FileDescriptor::~FileDescriptor() { ::close(fd_); }

InputFile::InputFile(const std::string& path, const std::string& name)
    : path_(name.empty() ? path : name),
      descriptor_(std::make_shared<const FileDescriptor>(path, O_RDONLY)) {
  const struct stat status = status_of(path, descriptor_->get());
  constexpr int64_t kNanoseconds = 1'000'000'000;
  stamp_ = {
      .size_bytes = status.st_size,
      .mtime_ns = status.st_mtim.tv_sec * kNanoseconds + status.st_mtim.tv_nsec,
      .device = status.st_dev,
      .inode = status.st_ino};
}

void InputFile::read(int64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t count =
        ::pread(descriptor_->get(), to.data(),
                std::min(to.size(), kMostBytesAtOnce), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(path_);
    if (count == 0) {
      throw IoError(
          path_ + ": " +
          std::to_string(status_of(path_, descriptor_->get()).st_size) +
          " bytes, expected " + std::to_string(size_bytes()) +
          " as when it was opened: it was cut short");
    }
    offset += count;
    to = to.subspan(static_cast<std::size_t>(count));
  }
}

void FileBytes::read(int64_t offset, std::span<std::byte> to) const {
  if (file_ != nullptr) return file_->read(begin_ + offset, to);
  std::ranges::copy(
      memory_.subspan(static_cast<std::size_t>(offset), to.size()), to.begin());
}

std::vector<std::byte> FileBytes::read(int64_t offset, int64_t count) const {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count));
  read(offset, bytes);
  return bytes;
}

std::string FileBytes::read_text(int64_t offset, int64_t count) const {
  std::string text(static_cast<std::size_t>(count), '\0');
  read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string read_text(const std::string& path) {
  const InputFile file(path);
  return FileBytes(file).read_text(0, file.size_bytes());
}

bool is_stream(const std::string& path) {
  std::error_code ignored;
  const auto type = std::filesystem::status(path, ignored).type();
  return path == kStandardInput || type == std::filesystem::file_type::fifo ||
         type == std::filesystem::file_type::character;
}

void read_stream(const std::string& path,
                 const std::function<void(ConstBytes)>& take) {
  std::optional<FileDescriptor> opened;
  if (path != kStandardInput) opened.emplace(path, O_RDONLY);
  const int fd = opened ? opened->get() : STDIN_FILENO;
  std::vector<std::byte> block(std::size_t{1} << 20);
  while (true) {
    const ssize_t count = ::read(fd, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_errno(name_of_stream(path));
    if (count == 0) return;
    take(std::span(block).first(static_cast<std::size_t>(count)));
  }
}

std::string name_of_stream(const std::string& path) {
  return path == kStandardInput ? "standard input" : path;
}

std::string temporary_path(const std::string& path) {
  constexpr std::size_t kLongestName = 255;  // of Linux
  static std::atomic<int64_t> count = 0;
  std::array<char, 65> host = {};
  ::gethostname(host.data(), host.size() - 1);
  std::ostringstream text;
  text << "." << host.data() << "-" << ::getpid() << "-" << count++ << ".part";
  const std::string end = text.str();
  const std::size_t name = path.rfind('/') + 1;  // 0 without a folder
  return path.substr(0, name + kLongestName - end.size()) + end;
}

NewFile::NewFile(const std::string& path) : path_(target_of(path)) {
  fd_ = open_without_name(path_);
  while (fd_ <
         0) {  // until a name that no dead process of this number has left
    part_ = temporary_path(path_);
    fd_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) throw_errno(path_);
  }
}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!part_.empty()) ::unlink(part_.c_str());
}

InputFile NewFile::read_back(const std::string& name) const {
  return InputFile(path_of(fd_), name);
}

void NewFile::give_name() {
  const std::string open = path_of(fd_);
  for (int linked = -1; linked != 0;) {
    part_ = temporary_path(path_);
    linked = ::linkat(AT_FDCWD, open.c_str(), AT_FDCWD, part_.c_str(),
                      AT_SYMLINK_FOLLOW);
    if (linked == 0 || errno == EEXIST) continue;
    part_.clear();
    throw_errno(path_);
  }
}

void NewFile::append(ConstBytes bytes) {
  write_all(path_, bytes, [&](const std::byte* from, std::size_t count) {
    return ::write(fd_, from, count);
  });
}

void NewFile::overwrite(int64_t offset, ConstBytes bytes) {
  write_all(path_, bytes, [&](const std::byte* from, std::size_t count) {
    const ssize_t written = ::pwrite(fd_, from, count, offset);
    if (written > 0) offset += written;
    return written;
  });
}

void NewFile::commit() {
  sync(path_, fd_);
  if (part_.empty()) give_name();
  // Network file systems report some failures of writing only here.
  if (::close(std::exchange(fd_, -1)) != 0) throw_errno(path_);
  if (::rename(part_.c_str(), path_.c_str()) != 0) throw_errno(path_);
  part_.clear();
  const auto folder = std::filesystem::path(path_).parent_path();
  sync_folder(folder.empty() ? "." : folder.string());
}

void require_can_be_made(const std::string& path) {
  const auto folder = std::filesystem::path(target_of(path)).parent_path();
  const std::string name = folder.empty() ? "." : folder.string();
  if (::access(name.c_str(), W_OK | X_OK) != 0) throw_errno(name);
}

void write_file(const std::string& path, std::span<const ConstBytes> pieces) {
  NewFile file(path);
  for (const ConstBytes piece : pieces) file.append(piece);
  file.commit();
}

void write_file(const std::string& path, const std::string& text) {
  const ConstBytes piece = std::as_bytes(std::span(text));
  write_file(path, std::span(&piece, 1));
}

void sync_folder(const std::string& path) {
  const FileDescriptor folder(path, O_RDONLY | O_DIRECTORY);
  // Some network file systems can't (EBADF: of a descriptor opened for reading
  // only); the files themselves are synced.
  if (::fsync(folder.get()) != 0 && errno != EINVAL && errno != EOPNOTSUPP &&
      errno != ENOSYS && errno != EBADF) {
    throw_errno(path);
  }
}

}  // namespace timepipe
