// Reads the weights of a Hugging Face folder.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <vector>

#include "launcher/huggingface/hf_folder.h"
#include "launcher/huggingface/hf_index.h"
#include "runtime/error.h"
#include "runtime/file_kind.h"
#include "runtime/files.h"
#include "runtime/finite.h"
#include "runtime/safetensors.h"

namespace timepipe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kOutput = "lm_head.weight";
constexpr const char* kLayer = ".seq_modeling_block.";

// All tensors of the folder, and where they are.
class HfTensors {
 public:
  HfTensors(const std::string& folder,
            const std::function<void(const std::string&)>& say) {
    const std::string whole = folder + "/" + kHfWeights,
                      index = folder + "/" + kHfIndex;
    if (fs::exists(whole)) {
      if (say && fs::exists(index)) {
        say(whole + " is read, " + index + " beside it isn't");
      }
      add_file(whole);
      return;
    }
    for (const auto& [tensor, name] :
         parse_weight_map(read_plain_text(index), index)) {
      const std::string path = folder + "/" + name;
      if (!fs::exists(path)) {
        throw IoError(index + ": " + tensor + " is in " + name +
                      ", which isn't there");
      }
      if (!open_.contains(path)) add_file(path);
      open_.at(path).entry(tensor);  // throws if it isn't there
    }
  }

  const std::map<std::string, std::string>& files() const { return of_; }
  bool contains(const std::string& tensor) const {
    return of_.contains(tensor);
  }
  const SafetensorsFile& file_of(const std::string& tensor) const {
    return open_.at(of_.at(tensor));
  }
  bool same(const std::string& a, const std::string& b) const {
    return same(file_of(a), a, file_of(b), b);
  }

 private:
  static bool same(const SafetensorsFile& file, const std::string& tensor,
                   const SafetensorsFile& other, const std::string& name) {
    const SafetensorsEntry &a = file.entry(tensor), &b = other.entry(name);
    return a.dtype == b.dtype && a.shape == b.shape &&
           std::ranges::equal(file.bytes(tensor), other.bytes(name));
  }
  void add_file(const std::string& path) {
    const SafetensorsFile& file =
        open_.emplace(path, SafetensorsFile::read(path)).first->second;
    for (const std::string& name : file.names()) {
      const auto [found, is_new] = of_.try_emplace(name, path);
      require(is_new || same(file, name, open_.at(found->second), name), path,
              ": tensor ", name, ": another one is in ", found->second);
    }
  }

  std::map<std::string, SafetensorsFile> open_;  // by path
  std::map<std::string, std::string> of_;        // path by tensor
};

bool is_weight_type(const std::string& dtype) {
  return dtype == "F32" || dtype == "F64" || dtype == "F16" || dtype == "BF16";
}

// Whether a buffer of numbers is what the official code computes for it, within
// the rounding of its type.
bool holds(const HostArray& buffer, const std::vector<double>& expected,
           const std::string& dtype) {
  const double rounding = dtype == "BF16"  ? 0x1p-8
                          : dtype == "F16" ? 0x1p-10
                                           : 1e-5;
  constexpr double kSmallestF16 = 0x1p-24;
  if (buffer.shape() != Shape{std::ssize(expected)}) return false;
  bool close = true;
  dispatch(buffer.dtype(), [&](auto zero) {
    const auto value = buffer.values<decltype(zero)>();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      close &= std::abs(value[i] - expected[i]) <=
               rounding * expected[i] + (dtype == "F16" ? kSmallestF16 : 0);
    }
  });
  return close;
}

// Buffers of a TTT layer that follow from the configuration and that official
// checkpoints may hold: base rates 1/i of the places of a mini-batch, and
// wavelengths of the rotary embedding.
std::vector<double> expected_buffer(const ModelConfig& model,
                                    const std::string& buffer) {
  std::vector<double> values;
  if (buffer == "token_idx") {
    for (int64_t i = 1; i <= model.mini_batch_size; ++i) {
      values.push_back(1 / static_cast<double>(i));
    }
  } else if (buffer == "rotary_emb.inv_freq") {
    for (int64_t i = 0; i < model.head_size(); i += 2) {
      values.push_back(std::pow(
          model.rope_theta,
          -static_cast<double>(i) / static_cast<double>(model.head_size())));
    }
  }
  return values;
}

// What a tensor that is no parameter says beyond the parameters and the
// configuration, as a line; empty: nothing.
std::string what_is_new_in(const std::string& folder, const std::string& name,
                           const HfTensors& tensors,
                           const std::set<std::string>& parameters) {
  if (name == kOutput) {  // no parameter: the embeddings are tied
    if (!tensors.contains(kEmbedding) || tensors.same(name, kEmbedding)) {
      return "";
    }
    return name + ": not the bits of " + kEmbedding +
           ", expected them with tie_word_embeddings";
  }
  const std::size_t layer = name.find(kLayer);
  if (layer == std::string::npos) return "unexpected " + name;
  const std::string prefix = name.substr(0, layer) + kLayer;
  const std::vector<double> expected =
      expected_buffer(read_hf_config(folder).model, name.substr(prefix.size()));
  if (expected.empty() ||
      !parameters.contains(prefix + "learnable_token_idx")) {
    return "unexpected " + name;
  }
  const SafetensorsEntry& e = tensors.file_of(name).entry(name);
  if (is_weight_type(e.dtype) &&
      holds(tensors.file_of(name).get(name), expected, e.dtype)) {
    return "";
  }
  return name + ": not the values that config.json gives it";
}

// The tensor that a parameter is read from: tied embeddings may be there by
// the output's name alone.
std::string source_of(const Parameter& p, const HfTensors& tensors,
                      const std::set<std::string>& parameters) {
  const bool by_output = p.name == kEmbedding && !tensors.contains(p.name) &&
                         tensors.contains(kOutput) &&
                         !parameters.contains(kOutput);
  return by_output ? kOutput : p.name;
}

std::set<std::string> names_of(const ParameterLayout& layout) {
  std::set<std::string> names;
  for (const Parameter& p : layout.parameters()) names.insert(p.name);
  return names;
}

// What keeps the tensors from being the weights, as a line; empty if nothing
// does.
std::string differences(const std::string& folder, const HfTensors& tensors,
                        const ParameterLayout& layout) {
  std::vector<std::string> list;
  const std::set<std::string> parameters = names_of(layout);
  for (const Parameter& p : layout.parameters()) {
    const std::string name = source_of(p, tensors, parameters);
    if (!tensors.contains(name)) {
      list.push_back("missing " + p.name + " " + to_string(p.shape));
      continue;
    }
    const SafetensorsEntry& e = tensors.file_of(name).entry(name);
    if (e.shape != p.shape) {
      list.push_back(name + ": shape " + to_string(e.shape) + ", expected " +
                     to_string(p.shape));
    }
    if (!is_weight_type(e.dtype)) {
      list.push_back(name + ": dtype " + e.dtype +
                     ", expected F32, F64, F16 or BF16");
    }
  }
  for (const auto& [name, _] : tensors.files()) {
    if (parameters.contains(name)) continue;
    const std::string wrong = what_is_new_in(folder, name, tensors, parameters);
    if (!wrong.empty()) list.push_back(wrong);
  }
  constexpr std::size_t kMost = 8;
  std::string line;
  for (std::size_t i = 0; i < std::min(list.size(), kMost); ++i) {
    line += (i == 0 ? "" : "; ") + list[i];
  }
  if (list.size() > kMost) {
    line += "; and " + std::to_string(list.size() - kMost) + " more";
  }
  return line;
}

}  // namespace

void read_hf_weights(Context& ctx, const std::string& folder,
                     ParameterStore& weights,
                     const std::function<void(const std::string&)>& say) {
  const HfTensors tensors(folder, say);
  const std::string wrong = differences(folder, tensors, weights.layout());
  require(wrong.empty(), folder, ": ", wrong);
  const std::set<std::string> parameters = names_of(weights.layout());
  for (const Parameter& p : weights.layout().parameters()) {
    const std::string name = source_of(p, tensors, parameters);
    upload_finite(
        ctx, folder + ": " + name,
        [&](int64_t first, int64_t count) {
          return tensors.file_of(name).get(name, first, count);
        },
        weights.value(p.name));
  }
}

}  // namespace timepipe
