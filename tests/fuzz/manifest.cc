#include "launcher/checkpoint/manifest.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  fuzz::text_is_stable(
      fuzz::as_text(data, size),
      [](const std::string& text) { return parse_manifest(text, "input"); },
      [](const Manifest& manifest) { return to_json(manifest); });
  return 0;
}
