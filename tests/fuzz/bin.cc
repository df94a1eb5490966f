#include "tests/fuzz/tokens.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const ConstBytes bytes = fuzz::as_bytes(data, size);
  for (const StoredToken raw : {StoredToken::kU16, StoredToken::kU32}) {
    fuzz::tokens_lie_within(bytes,
                            [&] { return parse_bin(bytes, "input", raw); });
  }
  return 0;
}
