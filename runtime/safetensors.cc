#include "runtime/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

namespace timepipe {
namespace {

using nlohmann::json;

constexpr int64_t kLengthBytes = 8;  // of the header's length
constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

// A tensor that the header promises, at bytes [begin, end) of the data.
struct Entry {
  std::string name;
  DType dtype;
  Shape shape;
  int64_t begin, end;
};

int64_t file_size(const std::string& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw IoError(path + ": " + error.message());
  return static_cast<int64_t>(size);
}

void read_bytes(const std::string& path, std::ifstream& file, void* bytes,
                int64_t count) {
  if (!file.read(static_cast<char*>(bytes), count)) {
    throw IoError(path + ": can't read " + std::to_string(count) + " bytes");
  }
}

// Leaves `file` at the first byte of the data, whose size it returns in `data`.
json read_header(const std::string& path, std::ifstream& file, int64_t* data) {
  const int64_t size = file_size(path);
  require(size >= kLengthBytes, path + ": " + std::to_string(size) +
                                    " bytes, too short for a safetensors file");
  unsigned char little_endian[kLengthBytes];
  read_bytes(path, file, little_endian, kLengthBytes);
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i) {
    length = length << 8 | little_endian[i];
  }
  const auto rest = static_cast<uint64_t>(size - kLengthBytes);
  require(length <= rest, path + ": header of " + std::to_string(length) +
                              " bytes, but only " + std::to_string(rest) +
                              " follow");
  std::string text(length, '\0');
  read_bytes(path, file, text.data(), static_cast<int64_t>(length));
  *data = static_cast<int64_t>(rest - length);
  try {
    json header = json::parse(text);
    require(header.is_object(), path + ": header is not a JSON object");
    return header;
  } catch (const json::exception& error) {
    throw InvalidArgument(path + ": header: " + error.what());
  }
}

DType parse_dtype(const std::string& where, const json& value) {
  if (value == "F32") return DType::kF32;
  if (value == "F64") return DType::kF64;
  if (value == "I64") return DType::kI64;
  throw InvalidArgument(where + ": dtype " + value.dump() +
                        ", expected F32, F64 or I64");
}

std::vector<int64_t> parse_sizes(const std::string& where, const json& value) {
  const std::string expected = where + " " + value.dump() +
                               ", expected an array of integers from 0 to "
                               "2^63 - 1";
  require(value.is_array(), expected);
  std::vector<int64_t> sizes;
  for (const json& item : value) {
    require(item.is_number_unsigned() &&
                item.get<uint64_t>() <= uint64_t{kMaxInt64},
            expected);
    sizes.push_back(item.get<int64_t>());
  }
  return sizes;
}

// Throws if the size of such a tensor, or of its non-empty dimensions alone,
// can't be counted in int64.
int64_t checked_bytes(const std::string& where, DType dtype,
                      const Shape& shape) {
  int64_t bytes = size_of(dtype);
  bool empty = false;
  for (const int64_t d : shape) {
    empty |= d == 0;
    if (d == 0) continue;
    require(d <= kMaxInt64 / bytes,
            where + ": shape " + to_string(shape) + " is too large");
    bytes *= d;
  }
  return empty ? 0 : bytes;
}

Entry parse_entry(const std::string& path, const std::string& name,
                  const json& value, int64_t data_size) {
  const std::string where = path + ": tensor " + name;
  require(value.is_object(), where + ": not a JSON object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    require(value.contains(key), where + ": no " + key);
  }
  const DType dtype = parse_dtype(where, value["dtype"]);
  Shape shape = parse_sizes(where + ": shape", value["shape"]);
  const std::vector<int64_t> offsets =
      parse_sizes(where + ": data_offsets", value["data_offsets"]);
  const std::string data_offsets =
      where + ": data_offsets " + to_string(offsets);
  require(offsets.size() == 2, data_offsets + ", expected two");
  require(offsets[0] <= offsets[1] && offsets[1] <= data_size,
          data_offsets + " go beyond the data of " + std::to_string(data_size) +
              " bytes");
  const int64_t bytes = checked_bytes(where, dtype, shape);
  require(offsets[1] - offsets[0] == bytes,
          data_offsets + ", expected " + std::to_string(bytes) +
              " bytes for shape " + to_string(shape) + " of " + name_of(dtype));
  return {name, dtype, std::move(shape), offsets[0], offsets[1]};
}

// The entries in the order of their data, which they must cover without
// overlaps and holes, as the format demands.
std::vector<Entry> parse_entries(const std::string& path, const json& header,
                                 int64_t data_size) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;  // free text
    entries.push_back(parse_entry(path, name, value, data_size));
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t covered = 0;
  for (const Entry& entry : entries) {
    require(entry.begin == covered,
            path + ": tensor " + entry.name + " starts at byte " +
                std::to_string(entry.begin) + " of the data, expected " +
                std::to_string(covered) + ": no holes, no overlaps");
    covered = entry.end;
  }
  require(covered == data_size,
          path + ": tensors end at byte " + std::to_string(covered) +
              " of the data, expected " + std::to_string(data_size));
  return entries;
}

// Aligned by itself: the file's offsets need not be.
Tensor read_tensor(const std::string& path, std::ifstream& file,
                   const Entry& entry) {
  constexpr auto kAlignment = std::align_val_t{MemoryPool::kAlignment};
  const int64_t bytes = entry.end - entry.begin;
  std::shared_ptr<void> memory(
      ::operator new(static_cast<std::size_t>(bytes), kAlignment),
      [](void* p) { ::operator delete(p, kAlignment); });
  read_bytes(path, file, memory.get(), bytes);
  void* data = memory.get();
  return Tensor(std::move(memory), data, entry.dtype, entry.shape);
}

}  // namespace

SafetensorsFile SafetensorsFile::read(const std::string& path) {
  SafetensorsFile result;
  result.path_ = path;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(path + ": can't open");
  int64_t data_size = 0;
  const json header = read_header(path, file, &data_size);
  for (const Entry& entry : parse_entries(path, header, data_size)) {
    result.tensors_.emplace(entry.name, read_tensor(path, file, entry));
  }
  return result;
}

bool SafetensorsFile::contains(const std::string& name) const {
  return tensors_.contains(name);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const auto& [name, _] : tensors_) names.push_back(name);
  return names;
}

Tensor SafetensorsFile::get(const std::string& name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), path_ + ": no tensor named " + name);
  return found->second;
}

}  // namespace timepipe
