#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/tensor.h"

namespace timepipe {

// A regular file that is open for reading, at any place. It is read, not
// mapped: one that is cut short meanwhile is an error, not a signal. Copies
// share the descriptor.
class InputFile {
 public:
  // Throws IoError naming path and reason.
  explicit InputFile(const std::string& path);

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
  std::shared_ptr<const int> descriptor_;  // closed with the last copy
  Stamp stamp_;
};

// The bytes of a file, or memory in its place, for functions that need only
// some of them. Refers to what it is made of.
class FileBytes {
 public:
  FileBytes(ConstBytes memory)  // NOLINT(google-explicit-constructor)
      : memory_(memory) {}
  FileBytes(const InputFile& file)  // NOLINT(google-explicit-constructor)
      : file_(&file) {}

  int64_t size() const {
    return file_ != nullptr ? file_->size_bytes()
                            : static_cast<int64_t>(memory_.size());
  }
  // A copy of bytes [offset, offset + count), which must be within size().
  // Throws IoError as InputFile does.
  std::vector<std::byte> read(int64_t offset, int64_t count) const;

 private:
  ConstBytes memory_;
  const InputFile* file_ = nullptr;
};

// A regular file in memory, read-only, mapped: pages come when they are read.
// Copies share the mapping.
class MappedFile {
 public:
  // name: path() and what errors say, in place of the path. Throws IoError
  // naming path and reason.
  explicit MappedFile(const std::string& path, const std::string& name = "");

  const std::string& path() const { return path_; }
  ConstBytes bytes() const { return {bytes_.get(), size_}; }

 private:
  std::string path_;
  std::shared_ptr<const std::byte> bytes_;
  std::size_t size_ = 0;
};

// The whole file as a text. Throws IoError naming path and reason.
std::string read_text(const std::string& path);

// A file that is made piece by piece, whole or not at all: it is written as
// PATH.part; what had the name stays until commit(). A link is followed. All
// throw IoError naming path and reason (a full disk, no permission).
class NewFile {
 public:
  // Throws IoError also if the name is that of a folder, a device or the like.
  explicit NewFile(const std::string& path);
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();  // without commit() the .part file goes

  const std::string& part() const { return part_; }  // until commit()
  void append(ConstBytes bytes);
  // Over bytes that were appended before.
  void overwrite(int64_t offset, ConstBytes bytes);
  // Syncs file and folder to the disk and gives the file its name.
  void commit();

 private:
  std::string path_, part_;
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
