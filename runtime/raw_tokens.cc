// Refuses a .bin whose bytes or .idx say that its tokens are of another type.

#include "runtime/raw_tokens.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/error.h"
#include "runtime/files.h"
#include "runtime/shell_word.h"

namespace timepipe {
namespace {

// What the tokens at every place of `period` are, together.
struct Column {
  bool zeros = true;   // all of them
  bool halves = true;  // each is 0 or has all bits set
};

Column column(ConstBytes bytes, std::size_t width, std::size_t place,
              std::size_t period) {
  Column c;
  const std::size_t stride = width * period;
  for (std::size_t at = place * width; at + width <= bytes.size();
       at += stride) {
    const ConstBytes token = bytes.subspan(at, width);
    const bool zero = std::ranges::all_of(
        token, [](std::byte b) { return b == std::byte{0}; });
    const bool ones = std::ranges::all_of(
        token, [](std::byte b) { return b == std::byte{0xff}; });
    c.zeros &= zero;
    c.halves &= zero || ones;
  }
  return c;
}

std::string to_npy(const std::string& path, const std::string& type) {
  return "python3 -c \"import numpy, sys; numpy.save(sys.argv[1] + '.npy', "
         "numpy.fromfile(sys.argv[1], '" +
         type + "'))\" " + shell_word(path) + " makes a file that says so";
}

// numpy's name of the type with this code in a Megatron index; "" if none.
std::string_view megatron_type(int code) {
  constexpr std::array<std::string_view, 9> kTypes = {
      "", "u1", "i1", "i2", "i4", "i8", "f8", "f4", "u2"};
  return code < 0 || code >= std::ssize(kTypes) ? "" : kTypes[code];
}

}  // namespace

void require_width(const FileBytes& bytes, const std::string& where,
                   StoredToken raw) {
  constexpr int64_t kMostTokens = int64_t{1} << 16, kLeastTokens = 8;
  const int64_t width = bytes_of(raw);
  const int64_t tokens = std::min(kMostTokens, bytes.size() / width) / 4 * 4;
  if (tokens < kLeastTokens) return;
  const std::vector<std::byte> look = bytes.read(0, tokens * width);
  const std::string read = width == 2 ? "uint16" : "uint32";
  const Column lower = column(look, width, 0, 2),
               upper = column(look, width, 1, 2);
  if (lower.zeros && upper.zeros) {
    throw InvalidArgument(where + ": the first " + std::to_string(tokens) +
                          " tokens are 0, expected a file that was written to "
                          "its end");
  }
  if (!lower.zeros && !upper.halves) return;
  const std::string found = where + ": every second " + read + " is 0";
  require(!lower.zeros, found, ": big-endian tokens? Expected little-endian");
  const std::string seen = found + (upper.zeros ? "" : " or has all bits set");
  // In int64 tokens the second number of each pair is an upper half, too.
  const bool i8 = width == 4 || column(look, width, 2, 4).halves;
  require(!i8, seen, ": int64 tokens, expected ", read, ": ",
          to_npy(where, "<i8"));
  require(upper.zeros, seen, ": int32 tokens, some below 0, expected ids");
  throw InvalidArgument(seen +
                        ": uint32 or int32 tokens? Set data.token_type = "
                        "uint32 of a run, --token-type uint32 of eval, score, "
                        "generate and data info; if they are uint16, " +
                        to_npy(where, "<u2"));
}

void require_no_index(const std::string& path) {
  const std::string index =
      std::filesystem::path(path).replace_extension(".idx").string();
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(index, ignored)) return;
  const InputFile file(index);
  constexpr int64_t kHeaderBytes = 18;  // magic, version, type
  std::string text(std::min(kHeaderBytes, file.size_bytes()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  constexpr std::string_view kMegatron("MMIDIDX\0\0", 9),
      kFairseq("TNTIDX\0\0", 8);
  constexpr std::size_t kType = 17;  // byte of a Megatron index, after version
  require(!text.starts_with(kFairseq), path,
          ": a fairseq file: its type is in ", index,
          ", expected tokens of another program");
  if (!text.starts_with(kMegatron) || text.size() <= kType) return;
  const std::string type(megatron_type(text[kType]));
  throw InvalidArgument(path + ": a Megatron file: " + index +
                        " says that its tokens are " +
                        (type.empty() ? "of an unknown type" : type) +
                        ", expected a file that says so itself: " +
                        to_npy(path, type.empty() ? "TYPE" : "<" + type) +
                        ", without its documents");
}

}  // namespace timepipe
