#include "launcher/data/jsonl.h"

#include "tests/fuzz/fuzz.h"

// Texts come from the lines: there are no more of them, and no more bytes, than
// of the input (an escape is longer than what it stands for).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  std::size_t documents = 0, bytes = 0;
  fuzz::accepts([&] {
    parse_jsonl(
        fuzz::as_bytes(data, size), "input", "text",
        [&](std::string_view text) { ++documents, bytes += text.size(); });
  });
  fuzz::must(documents <= size && bytes <= size, "texts of the lines");
  return 0;
}
