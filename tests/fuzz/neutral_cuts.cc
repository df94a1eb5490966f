#include "launcher/tokenizer/neutral_cuts.h"

#include <string>
#include <string_view>

#include "tests/fuzz/fuzz.h"

// A model that isn't one allows no cut; one that is cuts between characters.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const NeutralCuts cuts(fuzz::as_text(data, size));
  constexpr std::string_view kText = "ab c\n\xc3\xa9\xe4\xb8\xad\xff z";
  for (std::size_t at = 1; at < kText.size(); ++at) {
    if (!cuts.at(kText, at)) continue;
    fuzz::must(cuts.anywhere(), "no cut where none is allowed");
    fuzz::must((kText[at] & 0xC0) != 0x80, "no cut inside a character");
  }
  return 0;
}
