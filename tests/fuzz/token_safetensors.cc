#include "runtime/token_safetensors.h"

#include "tests/fuzz/tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const ConstBytes bytes = fuzz::as_bytes(data, size);
  fuzz::tokens_lie_within(
      bytes, [&] { return parse_token_safetensors(bytes, "input"); });
  return 0;
}
