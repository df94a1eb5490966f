#include "launcher/huggingface/hf_index.h"

#include "tests/fuzz/fuzz.h"

// No file of an index lies outside its folder.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  fuzz::accepts([&] {
    for (const auto& [tensor, file] :
         parse_weight_map(fuzz::as_text(data, size), "input")) {
      fuzz::must(!file.empty() && !file.starts_with('/') &&
                     ("/" + file + "/").find("/../") == std::string::npos &&
                     file.find('\0') == std::string::npos,
                 "a file of this folder or of one below");
    }
  });
  return 0;
}
