#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/files.h"
#include "runtime/host_array.h"

namespace timepipe {

// The safetensors format: 8 bytes little-endian header length, JSON header
// {name: {dtype, shape, data_offsets}, "__metadata__": {text: text}}, data.

struct SafetensorsEntry {
  std::string name;
  // As written: F64 F32 F16 BF16 F8_... C64 I64 I32 ... U8 BOOL.
  std::string dtype;
  Shape shape;
  int64_t begin, end;  // bytes of the data
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of their data
  std::map<std::string, std::string> metadata;
  int64_t data_begin;  // byte of the file
};

// Reads the header of a file that is all of `bytes`; a pure function. Throws
// InvalidArgument ("WHERE: what") if malformed: every offset and size is
// checked before it is used, tensors must cover the data without holes or
// overlaps. What the official library reads is read.
SafetensorsHeader parse_safetensors(const FileBytes& bytes,
                                    const std::string& where);

// A file of the format, for reading. What reads a tensor throws IoError, too,
// if the file was cut short since it was opened.
class SafetensorsFile {
 public:
  // Throws IoError (path) if unreadable, InvalidArgument if malformed.
  static SafetensorsFile read(const std::string& path);

  bool contains(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted
  const SafetensorsHeader& header() const { return header_; }
  const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  // Throws InvalidArgument naming what is missing.
  const SafetensorsEntry& entry(const std::string& name) const;
  // The tensor's bytes as they are in the file.
  std::vector<std::byte> bytes(const std::string& name) const;
  // Fills `to` with those from the tensor's byte `first` on, which must be
  // there.
  void read(const std::string& name, int64_t first,
            std::span<std::byte> to) const;
  // A copy of the tensor. F16 and BF16 become f32, exactly. Throws
  // InvalidArgument if there is no DType for what the file holds.
  HostArray get(const std::string& name) const;
  // Elements [first, first + count) of it, which must be there, flat.
  HostArray get(const std::string& name, int64_t first, int64_t count) const;

 private:
  HostArray read_array(const SafetensorsEntry& e, int64_t first,
                       Shape shape) const;
  explicit SafetensorsFile(InputFile file);

  InputFile file_;
  SafetensorsHeader header_;
  std::map<std::string, std::size_t> index_;  // of the entries
};

// A tensor to be written.
struct SafetensorsItem {
  std::string name;
  std::string dtype;
  Shape shape;
  ConstBytes bytes;
};

// array: must outlive the item.
SafetensorsItem safetensors_item(const std::string& name,
                                 const HostArray& array);

// The header of a file that holds the items in this order: length and JSON,
// padded so that the data begin at a multiple of 8.
std::string safetensors_header(
    std::span<const SafetensorsItem> items,
    const std::map<std::string, std::string>& metadata = {});

// The same for entries whose begin and end are known. size_bytes: padded to
// that if it is shorter.
std::string safetensors_header(
    std::span<const SafetensorsEntry> entries,
    const std::map<std::string, std::string>& metadata,
    std::size_t size_bytes = 0);

// Writes the file as write_file does. Throws IoError.
void write_safetensors(const std::string& path,
                       std::span<const SafetensorsItem> items,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace timepipe
