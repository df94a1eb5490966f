#include "runtime/token_npy.h"
#include "tests/fuzz/tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const ConstBytes bytes = fuzz::as_bytes(data, size);
  fuzz::tokens_lie_within(bytes, [&] { return parse_npy(bytes, "input"); });
  return 0;
}
