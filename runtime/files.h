#pragma once

#include <memory>
#include <span>
#include <string>

#include "runtime/tensor.h"

namespace timepipe {

// A regular file in memory, read-only, mapped: pages come when they are read.
// Copies share the mapping.
class MappedFile {
 public:
  // Throws IoError naming path and reason.
  explicit MappedFile(const std::string& path);

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
