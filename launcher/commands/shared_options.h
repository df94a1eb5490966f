#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace timepipe {

// What several commands take, in the same words.

inline constexpr const char* kCheckpointHelp =
    "A checkpoint's folder, a run folder (its newest valid checkpoint) or a "
    "Hugging Face folder";

inline constexpr const char* kTokenizerHelp =
    "bytes, or the path of a sentencepiece model. Default: data.tokenizer of "
    "the model's configuration, tokenizer.model of a Hugging Face folder";

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
