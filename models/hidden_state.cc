// Saves, checks and loads hidden states.

#include "models/hidden_state.h"

#include <charconv>
#include <cstring>
#include <map>
#include <utility>

#include "runtime/file_kind.h"
#include "runtime/finite.h"
#include "runtime/transfer.h"

namespace timepipe {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 62;
constexpr const char* kFormat = "timepipe.hidden_state.1";

// What the state's tensors depend on, as the file's metadata has it.
std::map<std::string, std::string> describe(const ModelConfig& config) {
  const auto text = [](int64_t n) { return std::to_string(n); };
  return {{"format", kFormat},
          {"layer", config.inner == InnerModel::kLinear ? "linear" : "mlp"},
          {"num_layers", text(config.num_layers)},
          {"hidden_size", text(config.hidden_size)},
          {"num_heads", text(config.num_heads)},
          {"mini_batch_size", text(config.mini_batch_size)},
          {"conv_kernel", text(config.conv_kernel)},
          {"share_qk", config.share_qk ? "true" : "false"},
          {"pre_conv", config.pre_conv ? "true" : "false"}};
}

// f(name, tensor) for what the state has; flat in files.
template <class State, class F>
void for_each_tensor(State& state, F&& f) {
  for (std::size_t l = 0; l < state.layers.size(); ++l) {
    auto& layer = state.layers[l];
    const std::string prefix = "layers." + std::to_string(l) + ".";
    const auto visit = [&](const char* name, auto& tensor) {
      if (!tensor.empty()) f(prefix + name, tensor);
    };
    visit("state", layer.state);
    visit("gradient_sum", layer.gradient_sum);
    visit("halo_x", layer.halo_x);
    visit("halo_qk", layer.halo_qk);
  }
}

void require_same(const std::string& where, const std::string& field,
                  const std::map<std::string, std::string>& metadata,
                  const std::string& expected) {
  const auto found = metadata.find(field);
  const bool there = found != metadata.end();
  require(there && found->second == expected, where, ": ", field, ": ",
          (there ? found->second.substr(0, 64) : "not there"), ", expected ",
          expected);
}

std::string not_a_state(const std::string& where, const std::string& found) {
  return where + ": not a hidden-state file: " + found + ", expected " +
         kFormat + ", as timepipe generate --state-out writes it";
}

}  // namespace

HiddenState learned_start(Context& ctx, const LanguageModel& model) {
  HiddenState state;
  const DType dtype = model.weights().precision().state;
  for (const Block& block : model.blocks()) {
    const auto zeros = [&](Border border) {
      return ctx.zeros(block.border_shape(border, 1), dtype);
    };
    state.layers.push_back({.state = block.layer().start_state(ctx),
                            .gradient_sum = zeros(Border::kState),
                            .halo_x = zeros(Border::kHaloX),
                            .halo_qk = zeros(Border::kHaloQk)});
  }
  return state;
}

HiddenState copy(Context& ctx, const HiddenState& state) {
  HiddenState result = state;
  for_each_tensor(result, [&](const std::string&, Tensor& tensor) {
    tensor = copy(ctx, tensor);
  });
  return result;
}

void save_hidden_state(Context& ctx, const std::string& path,
                       const HiddenState& state, const ModelConfig& config) {
  std::vector<HostArray> arrays;  // a move leaves their elements in place
  std::vector<SafetensorsItem> items;
  for_each_tensor(state, [&](const std::string& name, const Tensor& tensor) {
    arrays.push_back(download(ctx, tensor));
    items.push_back(safetensors_item(name, arrays.back()));
    items.back().shape = {tensor.numel()};
  });
  auto metadata = describe(config);
  metadata["tokens_read"] = std::to_string(state.tokens_read);
  write_safetensors(path, items, metadata);
}

int64_t check_hidden_state(const SafetensorsHeader& header,
                           const std::string& where, const HiddenState& like,
                           const ModelConfig& config) {
  const auto format = header.metadata.find("format");
  const bool there = format != header.metadata.end();
  require(there && format->second == kFormat,
          not_a_state(where, there ? "format " + format->second.substr(0, 64)
                                   : "no format in its metadata"));
  for (const auto& [field, expected] : describe(config)) {
    require_same(where, field, header.metadata, expected);
  }
  std::map<std::string, const SafetensorsEntry*> entries;
  for (const SafetensorsEntry& entry : header.entries) {
    entries[entry.name] = &entry;
  }
  for_each_tensor(like, [&](const std::string& name, const Tensor& tensor) {
    const Shape shape = {tensor.numel()};
    const auto found = entries.find(name);
    require(found != entries.end(), where, ": tensor ", name,
            ": not there, expected shape ", shape);
    const SafetensorsEntry& entry = *found->second;
    require(
        entry.shape == shape && (entry.dtype == "F32" || entry.dtype == "F64"),
        where, ": tensor ", name, ": ", entry.dtype, " ", entry.shape,
        ", expected F32 or F64 ", shape);
    entries.erase(found);
  });
  require(entries.empty(), where, ": tensor ",
          (entries.empty() ? "" : entries.begin()->first),
          ": not of a hidden state of this model");
  const auto found = header.metadata.find("tokens_read");
  const std::string text = found == header.metadata.end() ? "" : found->second;
  int64_t tokens = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, tokens);
  require(error == std::errc() && stop == end && tokens >= 0 &&
              tokens <= kMostTokens,
          where, ": tokens_read: \"", text.substr(0, 64),
          "\", expected a number of tokens");
  return tokens;
}

HiddenState load_hidden_state(Context& ctx, const std::string& path,
                              const LanguageModel& model,
                              const std::string& where) {
  HiddenState state = learned_start(ctx, model);
  const FileContents contents = file_contents(path);
  require(contents.kind == FileKind::kSafetensors,
          not_a_state(where, contents.what));
  const SafetensorsFile file = SafetensorsFile::read(path);
  state.tokens_read =
      check_hidden_state(file.header(), where, state, model.config());
  for_each_tensor(state, [&](const std::string& name, Tensor& tensor) {
    upload(ctx,
           converted_finite(where + ": tensor " + name, file.get(name),
                            tensor.dtype()),
           tensor);
  });
  return state;
}

}  // namespace timepipe
