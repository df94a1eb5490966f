#pragma once

#include "runtime/token_file.h"
#include "tests/fuzz/fuzz.h"

namespace timepipe::fuzz {

// Tokens that a reader of token files finds lie within the bytes, documents
// ascend within the tokens.
template <class Parse>
void tokens_lie_within(ConstBytes bytes, Parse&& parse) {
  TokenLayout layout;
  if (!accepts([&] { layout = parse(); })) return;
  const auto size = static_cast<int64_t>(bytes.size());
  must(layout.begin >= 0 && layout.begin <= size, "the first token");
  must(layout.count >= 0 &&
           layout.count <= (size - layout.begin) / bytes_of(layout.type),
       "the last token");
  int64_t next = 0;
  for (const int64_t first : layout.documents) {
    must(first >= next && first <= layout.count, "documents ascend");
    must(next > 0 || first == 0, "the first document is at 0");
    next = first + 1;
  }
}

}  // namespace timepipe::fuzz
