#include "launcher/huggingface/hf_config.h"

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  fuzz::text_is_stable(
      fuzz::as_text(data, size),
      [](const std::string& text) { return parse_hf_config(text, "input"); },
      [](const HfConfig& config) { return hf_config_text(config, "float32"); });
  return 0;
}
