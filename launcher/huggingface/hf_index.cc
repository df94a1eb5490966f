#include "launcher/huggingface/hf_index.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/json_fields.h"

namespace timepipe {
namespace {

// Whether it names a file in a folder or in one below, wherever the folder is.
bool is_path_below(const std::filesystem::path& path) {
  return path.is_relative() && path.has_filename() && path.filename() != "." &&
         std::ranges::count(path, "..") == 0 &&
         path.native().find('\0') == std::string::npos;
}

}  // namespace

std::map<std::string, std::string> parse_weight_map(const std::string& text,
                                                    const std::string& where) {
  const auto index = nlohmann::json::parse(text, nullptr, false);
  require(index.is_object() && index.contains("weight_map") &&
              index["weight_map"].is_object(),
          where, ": no weight_map, expected {\"weight_map\": {tensor: file}}");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string(), where, ": weight_map: ", tensor, ": ",
            brief(file), ", expected a file name");
    const auto name = file.get<std::string>();
    require(is_path_below(name), where, ": weight_map: ", tensor, ": ",
            brief(file),
            ", expected the path of a file from this folder on, without "
            "..");
    files[tensor] = name;
  }
  return files;
}

}  // namespace timepipe
