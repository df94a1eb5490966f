#include "models/hidden_state.h"

#include "tests/fuzz/fuzz.h"

// A header that is accepted holds the tensors of this model's state, with their
// shapes, and no others.

namespace timepipe {
namespace {

const ModelConfig& config() {
  static const ModelConfig config = [] {
    ModelConfig c;
    c.hidden_size = 4, c.num_heads = 2, c.num_layers = 2;
    c.share_qk = c.pre_conv = true;
    return c;
  }();
  return config;
}

const HiddenState& like() {
  static Context ctx;
  static const HiddenState state = [] {
    HiddenState s;
    const int64_t n = config().ttt_shape().state_size();
    const auto zeros = [](int64_t size) {
      return ctx.zeros({size}, DType::kF32);
    };
    const int64_t rows = config().halo_rows() * config().hidden_size;
    for (int64_t l = 0; l < config().num_layers; ++l) {
      s.layers.push_back(
          {zeros(n), zeros(n), l > 0 ? zeros(rows) : Tensor(), zeros(rows)});
    }
    return s;
  }();
  return state;
}

}  // namespace
}  // namespace timepipe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using namespace timepipe;
  const HiddenState& state = like();
  fuzz::accepts([&] {
    const SafetensorsHeader header =
        parse_safetensors(fuzz::as_bytes(data, size), "input");
    const int64_t tokens = check_hidden_state(header, "input", state, config());
    fuzz::must(tokens >= 0, "tokens_read");
    fuzz::must(header.entries.size() == 7, "the tensors of this state");
  });
  return 0;
}
