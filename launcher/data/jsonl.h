#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "runtime/tensor.h"

namespace timepipe {

// Bytes of the longest line that is read.
constexpr int64_t kMostLineBytes = int64_t{64} << 20;

// Calls document(text) with the text in `field` of each line, in order. `bytes`
// are whole lines, each a JSON object; blank ones are passed over. A pure
// function, whose memory is that of the longest line. Throws InvalidArgument
// ("WHERE: line N: what") if a line is too long, no JSON object, not UTF-8, or
// doesn't have the field once with a text.
// first_line: number of the first line of `bytes`.
void parse_jsonl(ConstBytes bytes, const std::string& where,
                 const std::string& field,
                 const std::function<void(std::string_view text)>& document,
                 int64_t first_line = 1);

}  // namespace timepipe
