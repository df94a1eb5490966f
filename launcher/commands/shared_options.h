#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "launcher/config/config.h"

namespace timepipe {

// What several commands take, in the same words.

inline constexpr const char* kCheckpointHelp =
    "A checkpoint's folder, a run folder (its newest valid checkpoint) or a "
    "Hugging Face folder";

inline constexpr const char* kTokenizerHelp =
    "bytes, or the path of a sentencepiece model. Default: data.tokenizer of "
    "the model's configuration, tokenizer.model of a Hugging Face folder";

// --token-type
struct TokenTypeOption {
  std::string name;  // empty: not given

  // otherwise: what it is then, for the help.
  void add_to(CLI::App& command, const std::string& otherwise) {
    command
        .add_option("--token-type", name,
                    "uint16 or uint32: tokens of a .bin without a header. "
                    "Default: " +
                        otherwise)
        ->check(CLI::IsMember({"uint16", "uint32"}));
  }
  StoredToken type_or(TokenType otherwise) const {
    if (name.empty()) return stored_token(otherwise);
    return stored_token(name == "uint32" ? TokenType::kUint32
                                         : TokenType::kUint16);
  }
};

// --dtype
struct ComputeTypeOption {
  std::string name;  // empty: not given

  void add_to(CLI::App& command) {
    command
        .add_option("--dtype", name,
                    "Type that computes, as train.dtype: f32, f64 or bf16. "
                    "Default: the run's; f32 for a Hugging Face folder")
        ->check(CLI::IsMember({"f32", "f64", "bf16"}));
  }
  std::optional<DType> type() const { return dtype_named(name); }
};

// --device
struct DeviceOption {
  std::string name = "cpu";

  void add_to(CLI::App& command) {
    command.add_option("--device", name, "What computes: cpu, cuda or cuda:N")
        ->check([](const std::string& text) {
          return device_named(text) ? ""
                                    : text + ", expected cpu, cuda, cuda:N";
        })
        ->capture_default_str();
  }
  Device device() const { return device_named(name).value(); }
};

inline constexpr const char* kTokenTypeOfModel =
    "data.token_type of the model's configuration";

// CONFIG [path=value ...]
struct ConfigOptions {
  std::string path;
  std::vector<std::string> overrides;

  void add_to(CLI::App& command) {
    command.add_option("CONFIG", path, "Configuration, text format")
        ->required();
    command.add_option("path=value", overrides,
                       "Fields that differ, such as model.num_layers=4");
  }
};

}  // namespace timepipe
