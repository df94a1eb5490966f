#include "runtime/token_file.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "runtime/error.h"
#include "runtime/raw_tokens.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

// An integer as it lies in the file, without alignment.
template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

template <typename T>
void copy_as(const std::byte* from, std::span<int64_t> ids) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = load<T>(from + i * sizeof(T));
  }
}

// All bytes from `begin` on are tokens.
TokenLayout tokens_from(int64_t begin, FileKind kind, StoredToken type,
                        const FileBytes& bytes, const std::string& where) {
  const int64_t rest = bytes.size() - begin;
  require(rest % bytes_of(type) == 0,
          where + ": " + std::to_string(rest) +
              " bytes of tokens, expected a multiple of " +
              std::to_string(bytes_of(type)));
  return {.kind = kind,
          .type = type,
          .begin = begin,
          .count = rest / bytes_of(type)};
}

void require_count(const TokenLayout& layout, int64_t listed,
                   const std::string& where) {
  require(layout.count == listed,
          where + ": header: " + std::to_string(listed) +
              " tokens, but the file has " + std::to_string(layout.count));
}

// The text after 'KEY': in the dictionary of an .npy header.
std::string_view npy_value(std::string_view header, std::string_view key,
                           const std::string& where) {
  std::string quoted = "'";
  quoted += key;
  quoted += "':";
  const std::size_t at = header.find(quoted);
  require(at != std::string_view::npos,
          where + ": header has no " + std::string(key));
  header.remove_prefix(at + quoted.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

StoredToken npy_type(std::string_view value, const std::string& where) {
  struct Name {
    std::string_view text;
    StoredToken type;
  };
  constexpr std::array<Name, 6> kNames = {{{"'|u1'", StoredToken::kU8},
                                           {"'<u1'", StoredToken::kU8},
                                           {"'<u2'", StoredToken::kU16},
                                           {"'<u4'", StoredToken::kU32},
                                           {"'<i4'", StoredToken::kI32},
                                           {"'<i8'", StoredToken::kI64}}};
  for (const Name& name : kNames) {
    if (value.starts_with(name.text)) return name.type;
  }
  throw InvalidArgument(where + ": descr " +
                        std::string(value.substr(0, value.find(','))) +
                        ", expected '|u1', '<u2', '<u4', '<i4' or '<i8'");
}

// Of "(n,)" or "(m, n)"; nothing else.
Shape npy_shape(std::string_view value, const std::string& where) {
  constexpr std::size_t kMostDigits = 18;  // fits in int64
  const std::string text(value.substr(0, value.find(')')));
  const std::string expected = where + ": shape " + text.substr(0, 80) +
                               "), expected one or two dimensions, (n,) or "
                               "(m, n)";
  require(text.size() >= 3 && text.front() == '(', expected);
  Shape shape;
  std::size_t at = 1;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::size_t digits = end - at;
    require(1 <= digits && digits <= kMostDigits && shape.size() < 2, expected);
    shape.push_back(0);
    for (; at < end; ++at) {
      require('0' <= text[at] && text[at] <= '9', expected);
      shape.back() = 10 * shape.back() + (text[at] - '0');
    }
    require(end < text.size() || shape.size() == 2, expected);
    at = std::min(text.find_first_not_of(' ', end + 1), text.size());
  }
  return shape;
}

// Byte where the header's text begins and ends.
struct NpyHeader {
  int64_t begin, end;
};

NpyHeader npy_header(const FileBytes& bytes, const std::string& where) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  constexpr int64_t kStart = 12;
  const std::string start = bytes.read_text(0, std::min(kStart, bytes.size()));
  require(start.size() == kStart && start.starts_with(kMagic),
          where + ": not an .npy file");
  const int version = static_cast<unsigned char>(start[6]);
  require(1 <= version && version <= 3, where + ": .npy version " +
                                            std::to_string(version) +
                                            ", expected 1, 2 or 3");
  const int64_t begin = version == 1 ? 10 : 12;
  const auto* at = std::as_bytes(std::span(start)).data() + 8;
  const int64_t length = version == 1 ? load<uint16_t>(at) : load<uint32_t>(at);
  require(length <= bytes.size() - begin,
          where + ": header of " + std::to_string(length) +
              " bytes, but only " + std::to_string(bytes.size() - begin) +
              " follow");
  return {begin, begin + length};
}

std::vector<int64_t> parse_documents(ConstBytes bytes, int64_t tokens,
                                     const std::string& where) {
  std::vector<int64_t> documents(bytes.size() / sizeof(int64_t));
  copy_as<int64_t>(bytes.data(), documents);
  int64_t least = 0;  // of the next start
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const int64_t start = documents[i];
    if (start < least || start >= tokens || (i == 0 && start != 0)) {
      throw InvalidArgument(
          where + ": document " + std::to_string(i) + " starts at token " +
          std::to_string(start) +
          ", expected 0 for the first, then ascending below " +
          std::to_string(tokens));
    }
    least = start + 1;
  }
  return documents;
}

TokenLayout parse(const FileBytes& bytes, const std::string& path,
                  StoredToken raw) {
  if (bytes.size() == 0) throw IoError(path + ": empty");
  const FileContents contents = file_contents(path, bytes);
  switch (contents.kind) {
    case FileKind::kTokenBin:
      if (!contents.has_header) require_no_index(path);
      return parse_bin(bytes, path, raw);
    case FileKind::kNpy:
      return parse_npy(bytes, path);
    case FileKind::kSafetensors:
      return parse_token_safetensors(bytes, path);
    case FileKind::kText:
      return tokens_from(static_cast<int64_t>(contents.bom_bytes),
                         FileKind::kText, StoredToken::kU8, bytes, path);
    default:
      throw_other_kind(path, contents, "tokens or a text", true);
  }
}

}  // namespace

int64_t bytes_of(StoredToken type) {
  switch (type) {
    case StoredToken::kU8:
      return 1;
    case StoredToken::kU16:
      return 2;
    case StoredToken::kU32:
    case StoredToken::kI32:
      return 4;
    case StoredToken::kI64:
      return 8;
  }
  return 0;
}

TokenLayout parse_bin(const FileBytes& bytes, const std::string& where,
                      StoredToken raw) {
  constexpr int32_t kMagic16 = 20240520, kMagic32 = 20240801;
  constexpr int64_t kHeaderBytes = 1024;
  const std::vector<std::byte> header =
      bytes.read(0, std::min(kHeaderBytes, bytes.size()));
  const int32_t magic = header.size() < 4 ? 0 : load<int32_t>(header.data());
  if (magic != kMagic16 && magic != kMagic32) {
    require_width(bytes, where, raw);
    return tokens_from(0, FileKind::kTokenBin, raw, bytes, where);
  }
  require(std::ssize(header) == kHeaderBytes,
          where + ": " + std::to_string(bytes.size()) +
              " bytes, too short for llm.c's header");
  const bool wide = magic == kMagic32;
  const auto version = load<int32_t>(header.data() + 4);
  require(version == (wide ? 7 : 1), where + ": header: version " +
                                         std::to_string(version) +
                                         ", expected " + (wide ? "7" : "1"));
  TokenLayout layout =
      tokens_from(kHeaderBytes, FileKind::kTokenBin,
                  wide ? StoredToken::kU32 : StoredToken::kU16, bytes, where);
  require_count(layout, load<int32_t>(header.data() + 8), where);
  return layout;
}

NpyTokens parse_npy_array(const FileBytes& bytes, const std::string& where) {
  const NpyHeader at = npy_header(bytes, where);
  const std::string header = bytes.read_text(at.begin, at.end - at.begin);
  const StoredToken type = npy_type(npy_value(header, "descr", where), where);
  const Shape shape = npy_shape(npy_value(header, "shape", where), where);
  // One dimension: the same in Fortran's order and in C's.
  require(shape.size() == 1 ||
              npy_value(header, "fortran_order", where).starts_with("False"),
          where + ": fortran_order: expected False");
  TokenLayout layout = tokens_from(at.end, FileKind::kNpy, type, bytes, where);
  const int64_t rows = shape.size() == 1 ? 1 : shape[0];
  require(rows == 0 || shape.back() <= layout.count / rows,
          where + ": header: shape " + to_string(shape) +
              ", but the file has " + std::to_string(layout.count) + " tokens");
  require_count(layout, rows * shape.back(), where);
  return {layout, shape};
}

TokenLayout parse_npy(const FileBytes& bytes, const std::string& where) {
  NpyTokens tokens = parse_npy_array(bytes, where);
  require(tokens.shape.size() == 1, where + ": shape " +
                                        to_string(tokens.shape) +
                                        ", expected one dimension, (n,)");
  return std::move(tokens.layout);
}

TokenLayout parse_token_safetensors(const FileBytes& bytes,
                                    const std::string& where) {
  SafetensorsHeader header = parse_safetensors(bytes, where);
  TokenLayout layout;
  layout.kind = FileKind::kSafetensors;
  const SafetensorsEntry* documents = nullptr;
  bool found = false;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.name == "documents") documents = &entry;
    if (entry.name != "tokens") continue;
    found = true;
    require(
        (entry.dtype == "U8" || entry.dtype == "U16" || entry.dtype == "U32") &&
            entry.shape.size() == 1,
        where + ": tensor tokens: " + entry.dtype + " of shape " +
            to_string(entry.shape) +
            ", expected U8, U16 or U32 of one dimension");
    layout.type = entry.dtype == "U8"    ? StoredToken::kU8
                  : entry.dtype == "U16" ? StoredToken::kU16
                                         : StoredToken::kU32;
    layout.begin = header.data_begin + entry.begin;
    layout.count = entry.shape[0];
  }
  require(found, where + ": no tensor named tokens");
  if (documents != nullptr) {
    require(documents->dtype == "I64" && documents->shape.size() == 1,
            where + ": tensor documents: " + documents->dtype + " of shape " +
                to_string(documents->shape) +
                ", expected I64 of one dimension");
    layout.documents =
        parse_documents(bytes.read(header.data_begin + documents->begin,
                                   documents->end - documents->begin),
                        layout.count, where);
  }
  layout.metadata = std::move(header.metadata);
  return layout;
}

void copy_tokens(ConstBytes bytes, StoredToken type, std::span<int64_t> ids) {
  const std::byte* from = bytes.data();
  switch (type) {
    case StoredToken::kU8:
      return copy_as<uint8_t>(from, ids);
    case StoredToken::kU16:
      return copy_as<uint16_t>(from, ids);
    case StoredToken::kU32:
      return copy_as<uint32_t>(from, ids);
    case StoredToken::kI32:
      return copy_as<int32_t>(from, ids);
    case StoredToken::kI64:
      return copy_as<int64_t>(from, ids);
  }
}

int64_t held_out_tokens(int64_t tokens, double share) {
  const double kept = std::floor(static_cast<double>(tokens) * share);
  return std::clamp<int64_t>(static_cast<int64_t>(kept), 0, tokens);
}

TokenFile::TokenFile(const std::string& path, StoredToken raw)
    : file_(path), layout_(parse(file_, path, raw)) {}

std::vector<std::byte> TokenFile::stored() const {
  return FileBytes(file_).read(layout_.begin,
                               layout_.count * bytes_of(layout_.type));
}

// Each part's hash is the seed of the next, here and below: no state to
// allocate.
uint64_t TokenFile::hash() const {
  constexpr int64_t kMostWhole = int64_t{1} << 23;
  constexpr int64_t kBlock = int64_t{1} << 13, kBlocks = 128;
  const int64_t tokens = num_tokens();
  const bool whole = tokens <= kMostWhole;
  const int64_t blocks = whole ? (tokens + kBlock - 1) / kBlock : kBlocks;
  std::vector<int64_t> ids;
  auto all = static_cast<uint64_t>(tokens);
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t first =
        whole ? i * kBlock : i * ((tokens - kBlock) / (kBlocks - 1));
    const bool last = !whole && i + 1 == kBlocks;
    ids.resize(static_cast<std::size_t>(std::min(kBlock, tokens - first)));
    copy(last ? tokens - kBlock : first, ids);
    all = XXH64(ids.data(), ids.size() * sizeof(int64_t), all);
  }
  return all;
}

uint64_t TokenFile::hash_of_documents() const {
  const auto& starts = layout_.documents;
  if (starts.empty()) return 0;
  return XXH64(starts.data(), starts.size() * sizeof(int64_t), starts.size());
}

uint64_t TokenFile::hash_of_bytes() const {
  constexpr int64_t kEnds = int64_t{1} << 20;
  constexpr int64_t kSample = int64_t{1} << 16, kSamples = 256;
  const int64_t size = file_.size_bytes();
  const auto hash = [&](int64_t begin, int64_t count, uint64_t seed) {
    const std::vector<std::byte> part = FileBytes(file_).read(begin, count);
    return XXH64(part.data(), part.size(), seed);
  };
  if (size <= 2 * kEnds + kSample * kSamples) return hash(0, size, 0);
  uint64_t all = hash(0, kEnds, static_cast<uint64_t>(size));
  const int64_t stride = (size - kSample) / kSamples;
  for (int64_t i = 0; i < kSamples; ++i) all = hash(i * stride, kSample, all);
  return hash(size - kEnds, kEnds, all);
}

void TokenFile::copy(int64_t first, std::span<int64_t> ids) const {
  const auto count = static_cast<int64_t>(ids.size());
  const int64_t width = bytes_of(layout_.type);
  std::array<std::byte, 1 << 16> block;
  const auto block_tokens = static_cast<int64_t>(block.size()) / width;
  for (int64_t done = 0; done < count; done += block_tokens) {
    const int64_t tokens = std::min(block_tokens, count - done);
    const auto bytes =
        std::span(block).first(static_cast<std::size_t>(tokens * width));
    file_.read(layout_.begin + (first + done) * width, bytes);
    copy_tokens(bytes, layout_.type, ids.subspan(done, tokens));
  }
}

void TokenFile::read(int64_t first, std::span<int64_t> ids,
                     int64_t vocab_size) const {
  const auto count = static_cast<int64_t>(ids.size());
  require(0 <= first && first <= num_tokens() && count <= num_tokens() - first,
          path() + ": tokens [" + std::to_string(first) + ", " +
              std::to_string(first) + " + " + std::to_string(count) +
              "), expected a range in [0, " + std::to_string(num_tokens()) +
              ")");
  copy(first, ids);
  uint64_t signs = 0;  // negative if an id or its distance from the last is
  for (const int64_t id : ids) {
    const auto bits = static_cast<uint64_t>(id);
    signs |= bits | (static_cast<uint64_t>(vocab_size) - 1 - bits);
  }
  if (signs >> 63 == 0) return;
  for (int64_t i = 0; i < count; ++i) {
    if (0 <= ids[i] && ids[i] < vocab_size) continue;
    throw InvalidArgument(path() + ": token " + std::to_string(first + i) +
                          ": id " + std::to_string(ids[i]) +
                          ", expected one in [0, " +
                          std::to_string(vocab_size) + ")");
  }
}

}  // namespace timepipe
