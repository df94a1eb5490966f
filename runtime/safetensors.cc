// Reads, checks and writes safetensors files.

#include "runtime/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/bf16.h"
#include "runtime/file_kind.h"
#include "runtime/json_fields.h"

namespace timepipe {
namespace {

using nlohmann::json;

constexpr int64_t kLengthBytes = 8;                 // of the header's length
constexpr uint64_t kMostHeaderBytes = 100'000'000;  // as in the official code
constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

struct StoredType {
  const char* name;
  int64_t bits;  // of an element
};

constexpr StoredType kStoredTypes[] = {
    {"F64", 64},    {"F32", 32},    {"F16", 16},        {"BF16", 16},
    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
    {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F4", 4},
    {"C64", 64},    {"I64", 64},    {"I32", 32},        {"I16", 16},
    {"I8", 8},      {"U64", 64},    {"U32", 32},        {"U16", 16},
    {"U8", 8},      {"BOOL", 8}};

// 0 for a type that the format doesn't have.
int64_t stored_bits(const std::string& dtype) {
  for (const StoredType& type : kStoredTypes) {
    if (dtype == type.name) return type.bits;
  }
  return 0;
}

int64_t read_length(const FileBytes& bytes, const std::string& where) {
  require(bytes.size() >= kLengthBytes, where, ": ", bytes.size(),
          " bytes, too short for a safetensors file");
  const std::vector<std::byte> digits = bytes.read(0, kLengthBytes);
  uint64_t length = 0;
  for (std::size_t i = digits.size(); i-- > 0;) {
    length = length << 8 | std::to_integer<uint64_t>(digits[i]);
  }
  const auto rest = static_cast<uint64_t>(bytes.size() - kLengthBytes);
  require(length <= rest, where, ": header of ", length, " bytes, but only ",
          rest, " follow");
  require(length <= kMostHeaderBytes, where, ": header of ", length,
          " bytes, expected at most ", kMostHeaderBytes);
  return static_cast<int64_t>(length);
}

json parse_json(ConstBytes text, const std::string& where) {
  const auto* begin = reinterpret_cast<const char*>(text.data());
  try {
    json header = json::parse(begin, begin + text.size());
    require(header.is_object(), where, ": header is not a JSON object");
    return header;
  } catch (const json::exception& error) {
    throw InvalidArgument(where + ": header: " + error.what());
  }
}

std::vector<int64_t> parse_sizes(const std::string& where, const json& value) {
  const std::string expected = where + " " + brief(value) +
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

// Throws if the bits of such a tensor, or of its non-empty dimensions alone,
// can't be counted in int64 or are no whole bytes.
int64_t checked_bytes(const std::string& where, int64_t element_bits,
                      const Shape& shape) {
  int64_t bits = element_bits;
  bool empty = false;
  for (const int64_t d : shape) {
    empty |= d == 0;
    if (d == 0) continue;
    require(d <= kMaxInt64 / bits, where, ": shape ", shape, " is too large");
    bits *= d;
  }
  if (empty) return 0;
  require(bits % 8 == 0, where, ": shape ", shape, ": ", bits,
          " bits, expected whole bytes");
  return bits / 8;
}

SafetensorsEntry parse_entry(const std::string& file, const std::string& name,
                             const json& value, int64_t data_size) {
  const std::string where = file + ": tensor " + name;
  require(value.is_object(), where, ": not a JSON object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    require(value.contains(key), where, ": no ", key);
  }
  const json& dtype = value["dtype"];
  const int64_t element_bits =
      dtype.is_string() ? stored_bits(dtype.get<std::string>()) : 0;
  require(element_bits > 0, where, ": dtype ", brief(dtype),
          ", expected F32, BF16, I64 or the like");
  Shape shape = parse_sizes(where + ": shape", value["shape"]);
  const std::vector<int64_t> offsets =
      parse_sizes(where + ": data_offsets", value["data_offsets"]);
  const std::string data_offsets =
      where + ": data_offsets " + to_string(offsets);
  require(offsets.size() == 2, data_offsets, ", expected two");
  require(offsets[0] <= offsets[1] && offsets[1] <= data_size, data_offsets,
          " go beyond the data of ", data_size, " bytes");
  const int64_t bytes = checked_bytes(where, element_bits, shape);
  require(offsets[1] - offsets[0] == bytes, data_offsets, ", expected ", bytes,
          " bytes for shape ", shape, " of ", dtype.get<std::string>());
  return {name, dtype.get<std::string>(), std::move(shape), offsets[0],
          offsets[1]};
}

// The tensors must cover the data without overlaps and holes, as the format
// demands.
void require_covered(const std::vector<SafetensorsEntry>& entries,
                     int64_t data_size, const std::string& where) {
  int64_t covered = 0;
  for (const SafetensorsEntry& entry : entries) {
    require(entry.begin == covered, where, ": tensor ", entry.name,
            " starts at byte ", entry.begin, " of the data, expected ", covered,
            ": no holes, no overlaps");
    covered = entry.end;
  }
  require(covered == data_size, where, ": tensors end at byte ", covered,
          " of the data, expected ", data_size);
}

std::map<std::string, std::string> parse_metadata(const json& value,
                                                  const std::string& where) {
  std::map<std::string, std::string> metadata;
  if (value.is_null()) return metadata;
  require(value.is_object(), where, ": __metadata__: not a JSON object");
  for (const auto& [key, text] : value.items()) {
    require(text.is_string(), where, ": __metadata__: ", key, ": ", brief(text),
            ", expected a text");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// IEEE half precision.
float widen_f16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits} >> 15 << 31;
  const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float value = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 127 - 15;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

// Of elements of 16 bits; array: f32, of as many.
void widen(ConstBytes bytes, float (*widen_one)(uint16_t), HostArray& array) {
  const std::span<float> to = array.values<float>();
  for (std::size_t i = 0; i < to.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + 2 * i, sizeof(bits));
    to[i] = widen_one(bits);
  }
}

const char* stored_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF64:
      return "F64";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
  }
  return "";
}

}  // namespace

SafetensorsHeader parse_safetensors(const FileBytes& bytes,
                                    const std::string& where) {
  const int64_t length = read_length(bytes, where);
  const json header = parse_json(bytes.read(kLengthBytes, length), where);
  SafetensorsHeader result;
  result.data_begin = kLengthBytes + length;
  const int64_t data_size = bytes.size() - result.data_begin;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      result.metadata = parse_metadata(value, where);
    } else {
      result.entries.push_back(parse_entry(where, name, value, data_size));
    }
  }
  std::ranges::sort(result.entries, {}, [](const SafetensorsEntry& entry) {
    return std::pair(entry.begin, entry.end);
  });
  require_covered(result.entries, data_size, where);
  return result;
}

SafetensorsFile::SafetensorsFile(InputFile file)
    : file_(std::move(file)), header_(parse_safetensors(file_, file_.path())) {
  for (std::size_t i = 0; i < header_.entries.size(); ++i) {
    index_[header_.entries[i].name] = i;
  }
}

SafetensorsFile SafetensorsFile::read(const std::string& path) {
  const InputFile file(path);
  const FileContents contents = file_contents(path, file);
  // The parser says what is wrong with bytes that no other format has.
  if (contents.kind != FileKind::kSafetensors &&
      contents.kind != FileKind::kBinary && file.size_bytes() > 0) {
    throw_other_kind(path, contents, "a safetensors file", false);
  }
  return SafetensorsFile(file);
}

bool SafetensorsFile::contains(const std::string& name) const {
  return index_.contains(name);
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(index_.size());
  for (const auto& [name, _] : index_) names.push_back(name);
  return names;
}

const SafetensorsEntry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = index_.find(name);
  require(found != index_.end(), file_.path(), ": no tensor named ", name);
  return header_.entries[found->second];
}

std::vector<std::byte> SafetensorsFile::bytes(const std::string& name) const {
  const SafetensorsEntry& e = entry(name);
  std::vector<std::byte> bytes(static_cast<std::size_t>(e.end - e.begin));
  read(name, 0, bytes);
  return bytes;
}

void SafetensorsFile::read(const std::string& name, int64_t first,
                           std::span<std::byte> to) const {
  file_.read(header_.data_begin + entry(name).begin + first, to);
}

HostArray SafetensorsFile::get(const std::string& name) const {
  const SafetensorsEntry& e = entry(name);
  return read_array(e, 0, e.shape);
}

HostArray SafetensorsFile::get(const std::string& name, int64_t first,
                               int64_t count) const {
  return read_array(entry(name), first, {count});
}

HostArray SafetensorsFile::read_array(const SafetensorsEntry& e, int64_t first,
                                      Shape shape) const {
  if (e.dtype == "BF16" || e.dtype == "F16") {
    HostArray array(std::move(shape), DType::kF32);
    std::vector<std::byte> narrow(static_cast<std::size_t>(2 * array.numel()));
    read(e.name, 2 * first, narrow);
    widen(narrow, e.dtype == "BF16" ? widen_bf16 : widen_f16, array);
    return array;
  }
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kI64}) {
    if (e.dtype != stored_name(dtype)) continue;
    HostArray array(std::move(shape), dtype);
    read(e.name, first * size_of(dtype), array.bytes());
    return array;
  }
  throw InvalidArgument(file_.path() + ": tensor " + e.name + ": dtype " +
                        e.dtype + ", expected F64, F32, F16, BF16 or I64");
}

SafetensorsItem safetensors_item(const std::string& name,
                                 const HostArray& array) {
  return {name, stored_name(array.dtype()), array.shape(), array.bytes()};
}

std::string safetensors_header(
    std::span<const SafetensorsItem> items,
    const std::map<std::string, std::string>& metadata) {
  std::vector<SafetensorsEntry> entries;
  int64_t end = 0;
  for (const SafetensorsItem& item : items) {
    const int64_t begin = end;
    end += static_cast<int64_t>(item.bytes.size());
    entries.push_back({item.name, item.dtype, item.shape, begin, end});
  }
  return safetensors_header(entries, metadata);
}

std::string safetensors_header(
    std::span<const SafetensorsEntry> entries,
    const std::map<std::string, std::string>& metadata,
    std::size_t size_bytes) {
  nlohmann::ordered_json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.name] = {{"dtype", entry.dtype},
                          {"shape", entry.shape},
                          {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text =
      header.dump(-1, ' ', false, json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  text.resize(std::max(text.size() + kLengthBytes, size_bytes) - kLengthBytes,
              ' ');
  std::string length(kLengthBytes, '\0');
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(text.size() >> (8 * i) & 255);
  }
  return length + text;
}

void write_safetensors(const std::string& path,
                       std::span<const SafetensorsItem> items,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = safetensors_header(items, metadata);
  std::vector<ConstBytes> pieces = {std::as_bytes(std::span(header))};
  for (const SafetensorsItem& item : items) pieces.push_back(item.bytes);
  write_file(path, pieces);
}

}  // namespace timepipe
