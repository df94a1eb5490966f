#include "launcher/data/jsonl.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/fuzz.h"

// Texts come from the lines: there are no more of them, and no more bytes, than
// of the input (an escape is longer than what it stands for).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  std::size_t documents = 0, bytes = 0;
  std::string last, mistakes;
  parse_jsonl(
      fuzz::as_bytes(data, size), "input", "text",
      [&](std::string_view text) {
        ++documents, bytes += text.size();
        last = text;
      },
      1, [&](const std::string& mistake) { mistakes += mistake; });
  fuzz::must(documents <= size && bytes <= size, "texts of the lines");
  fuzz::must(mistakes.find('\n') == std::string::npos, "mistakes of one line");
  // What another reader finds in a single line, this one finds too. (To that
  // one a NUL is the end.)
  const std::string line = fuzz::as_text(data, size);
  if (line.find_first_of(std::string("\n\0", 2)) != std::string::npos) return 0;
  const auto json = nlohmann::json::parse(line, nullptr, false);
  const bool has_text =
      json.is_object() && json.contains("text") && json["text"].is_string();
  if (!has_text || mistakes.find("twice") != std::string::npos ||
      mistakes.find("expected a text") != std::string::npos) {
    return 0;
  }
  fuzz::must(documents == 1 && last == json["text"], "the field's text");
  return 0;
}
