// Reads headers of numpy.save.

#include "runtime/token_npy.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "runtime/error.h"

namespace timepipe {
namespace {

// The text after 'KEY': in the dictionary of an .npy header.
std::string_view npy_value(std::string_view header, std::string_view key,
                           const std::string& where) {
  std::string quoted = "'";
  quoted += key;
  quoted += "':";
  const std::size_t at = header.find(quoted);
  require(at != std::string_view::npos, where, ": header has no ", key);
  header.remove_prefix(at + quoted.size());
  header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
  return header;
}

// Of "'<u2'".
StoredToken npy_type(std::string_view value, const std::string& where) {
  constexpr std::size_t kMostBytes = 40;
  const std::string text(
      value.substr(0, std::min(value.find(','), kMostBytes)));
  const bool quoted =
      text.size() > 2 && text.front() == '\'' && text.back() == '\'';
  std::string name = quoted ? text.substr(1, text.size() - 2) : text;
  require(!name.starts_with('>') || name == ">u1" || name == ">i1", where,
          ": descr ", name,
          ": big-endian, expected little-endian, as of "
          "array.astype(array.dtype.newbyteorder('<'))");
  if (name.ends_with("u1") || name.ends_with("i1")) name[0] = '|';
  return token_type_of_npy(name, where + ": descr");
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
  require(start.size() == kStart && start.starts_with(kMagic), where,
          ": not an .npy file");
  const int version = static_cast<unsigned char>(start[6]);
  require(1 <= version && version <= 3, where, ": .npy version ", version,
          ", expected 1, 2 or 3");
  const int64_t begin = version == 1 ? 10 : 12;
  int64_t length = 0;  // little-endian, of two or four bytes
  for (int64_t i = begin - 1; i >= 8; --i) {
    length = length << 8 | static_cast<unsigned char>(start[i]);
  }
  require(length <= bytes.size() - begin, where, ": header of ", length,
          " bytes, but only ", bytes.size() - begin, " follow");
  return {begin, begin + length};
}

}  // namespace

TokenArray parse_npy_array(const FileBytes& bytes, const std::string& where) {
  const NpyHeader at = npy_header(bytes, where);
  const std::string header = bytes.read_text(at.begin, at.end - at.begin);
  const StoredToken type = npy_type(npy_value(header, "descr", where), where);
  const Shape shape = npy_shape(npy_value(header, "shape", where), where);
  // One dimension: the same in Fortran's order and in C's.
  require(shape.size() == 1 ||
              npy_value(header, "fortran_order", where).starts_with("False"),
          where, ": fortran_order: expected False");
  TokenLayout layout = tokens_from(at.end, FileKind::kNpy, type, bytes, where);
  const int64_t rows = shape.size() == 1 ? 1 : shape[0];
  require(rows == 0 || shape.back() <= layout.count / rows, where,
          ": header: shape ", shape, ", but the file has ", layout.count,
          " tokens");
  require_count(layout, rows * shape.back(), where);
  return {layout, shape};
}

TokenLayout parse_npy(const FileBytes& bytes, const std::string& where) {
  TokenArray tokens = parse_npy_array(bytes, where);
  require_one_row(tokens, where);
  return std::move(tokens.layout);
}

}  // namespace timepipe
