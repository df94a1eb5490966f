#include "runtime/token_file.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "runtime/error.h"
#include "runtime/raw_tokens.h"
#include "runtime/token_npy.h"
#include "runtime/token_safetensors.h"

namespace timepipe {
namespace {

// An integer as it lies in the file, without alignment.
template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
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
  require(std::ssize(header) == kHeaderBytes, where, ": ", bytes.size(),
          " bytes, too short for llm.c's header");
  const bool wide = magic == kMagic32;
  const auto version = load<int32_t>(header.data() + 4);
  require(version == (wide ? 7 : 1), where, ": header: version ", version,
          ", expected ", (wide ? "7" : "1"));
  TokenLayout layout =
      tokens_from(kHeaderBytes, FileKind::kTokenBin,
                  wide ? StoredToken::kU32 : StoredToken::kU16, bytes, where);
  require_count(layout, load<int32_t>(header.data() + 8), where);
  return layout;
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
          path(), ": tokens [", first, ", ", first, " + ", count,
          "), expected a range in [0, ", num_tokens(), ")");
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
