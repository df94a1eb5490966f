#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tensor.h"

namespace timepipe {

// A file descriptor that is closed with this.
class FileDescriptor {
 public:
  // flags: of open(). Throws IoError naming path and reason.
  FileDescriptor(const std::string& path, int flags);
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();

  int get() const { return fd_; }

 private:
  int fd_;
};

// A regular file that is open for reading, at any place. It is read, not
// mapped: one that is cut short meanwhile is an error, not a signal. Copies
// share the descriptor.
class InputFile {
 public:
  // name: path() and what errors of reading say, in place of the path. Throws
  // IoError naming path and reason.
  explicit InputFile(const std::string& path, const std::string& name = "");

  const std::string& path() const { return path_; }
  // What tells another file, or another version, from the one that was opened.
  struct Stamp {
    int64_t size_bytes = 0, mtime_ns = 0;
    uint64_t device = 0, inode = 0;

    bool operator==(const Stamp&) const = default;
  };
  const Stamp& stamp() const { return stamp_; }
  int64_t size_bytes() const { return stamp_.size_bytes; }

  // Fills `to` with the bytes from `offset` on. Throws IoError naming path and
  // reason, also if the file ends before.
  void read(int64_t offset, std::span<std::byte> to) const;

 private:
  std::string path_;
  std::shared_ptr<const FileDescriptor> descriptor_;
  Stamp stamp_;
};

// The bytes of a file, or memory in its place, for functions that need only
// some of them. Refers to what it is made of.
class FileBytes {
 public:
  FileBytes(ConstBytes memory)  // NOLINT(google-explicit-constructor)
      : memory_(memory) {}
  FileBytes(std::string_view memory)  // NOLINT(google-explicit-constructor)
      : memory_(std::as_bytes(std::span(memory))) {}
  // Those of the file from byte `begin` on, one of it or its end.
  FileBytes(const InputFile& file,  // NOLINT(google-explicit-constructor)
            int64_t begin = 0)
      : file_(&file), begin_(begin) {}

  int64_t size() const {
    return file_ != nullptr ? file_->size_bytes() - begin_
                            : static_cast<int64_t>(memory_.size());
  }
  // A copy of bytes [offset, offset + count), which must be within size().
  // Throws IoError as InputFile does.
  std::vector<std::byte> read(int64_t offset, int64_t count) const;
  std::string read_text(int64_t offset, int64_t count) const;

 private:
  void read(int64_t offset, std::span<std::byte> to) const;

  ConstBytes memory_;
  const InputFile* file_ = nullptr;
  int64_t begin_ = 0;  // of the file
};

// The whole file as a text. Throws IoError naming path and reason.
std::string read_text(const std::string& path);

inline constexpr const char* kStandardInput = "-";  // as a path

// Whether a path can be read only once, from its front: standard input, a pipe,
// a device.
bool is_stream(const std::string& path);
// Calls take(bytes) for all that it gives, piece by piece. Throws IoError
// naming the path and the reason.
void read_stream(const std::string& path,
                 const std::function<void(ConstBytes)>& take);
// What errors call a stream: "standard input", or its path.
std::string name_of_stream(const std::string& path);

// A name beside the path's, PATH.HOST-PID-N.part, another one at each call and
// in each process of the hosts that share the folder.
std::string temporary_path(const std::string& path);

// A file that is made piece by piece, whole or not at all: it is written
// without a name, so that nothing of it is left if the process is killed, or
// where that can't be (network file systems) under a temporary one; what had
// its name stays until commit(). Of several that make the same file at once the
// last one counts. A link is followed. All throw IoError naming path and reason
// (a full disk, no permission).
class NewFile {
 public:
  // Throws IoError also if the name is that of a folder, a device or the like.
  explicit NewFile(const std::string& path);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();  // without commit() what was written goes

  // The bytes so far, to be read under another name; they last as long as what
  // is returned.
  InputFile read_back(const std::string& name) const;
  void append(ConstBytes bytes);
  // Over bytes that were appended before.
  void overwrite(int64_t offset, ConstBytes bytes);
  // Syncs file and folder to the disk and gives the file its name.
  void commit();

 private:
  void give_name();

  std::string path_;
  std::string part_;  // temporary name; empty: none
  int fd_ = -1;
};

// For output that is written after long work: throws IoError naming path and
// reason if NewFile(path) would, and makes nothing.
void require_can_be_made(const std::string& path);

// Makes a file of the pieces, one after the other, as NewFile does.
void write_file(const std::string& path, std::span<const ConstBytes> pieces);
void write_file(const std::string& path, const std::string& text);

// Syncs the folder's entries to the disk, so that renames in it last.
void sync_folder(const std::string& path);

}  // namespace timepipe
