#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/files.h"
#include "runtime/tensor.h"

namespace timepipe {

// Bytes of the longest line that is read.
constexpr int64_t kMostLineBytes = int64_t{64} << 20;

// Where a block of lines ends.
struct LinesEnd {
  int64_t end = 0;  // byte of the text
  int64_t line_feeds = 0;
};

// The block begins at byte `begin` of the text, the start of a line, and ends
// with the first line feed that is least_bytes or more behind that, or with the
// text. window_bytes are looked at at once; their number changes nothing.
// Throws IoError.
LinesEnd find_lines_end(const FileBytes& text, int64_t begin,
                        int64_t least_bytes,
                        int64_t window_bytes = int64_t{16} << 10);

// Bytes [begin, end) of the text, such a block, for parse_jsonl: without the
// end of a line that is too long anyway. Throws IoError.
std::vector<std::byte> read_lines(const FileBytes& text, int64_t begin,
                                  int64_t end, int64_t least_bytes);

// Calls document(text) with the text in `field` of each line, in order. `bytes`
// are whole lines, each a JSON object; blank ones and byte order marks at their
// starts are passed over. Values of
// other fields are checked to be JSON (NaN and Infinity, as Python writes them,
// too), but not converted: numbers of any size, halves of surrogates, keys
// given twice and any depth are as good as others. A pure function, whose
// memory is that of the longest line.
//
// Of a line that is too long, no JSON object, or doesn't have the field once
// with a text, calls bad_line("WHERE: line N: column M: what") and goes on if
// that returns. M counts bytes from 1. first_line: number of the first line of
// `bytes`.
void parse_jsonl(
    ConstBytes bytes, const std::string& where, const std::string& field,
    const std::function<void(std::string_view text)>& document,
    int64_t first_line,
    const std::function<void(const std::string& mistake)>& bad_line);

}  // namespace timepipe
