#include "launcher/huggingface/hf_index.h"

#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/json_fields.h"

namespace timepipe {

std::map<std::string, std::string> parse_weight_map(const std::string& text,
                                                    const std::string& where) {
  const auto index = nlohmann::json::parse(text, nullptr, false);
  require(index.is_object() && index.contains("weight_map") &&
              index["weight_map"].is_object(),
          where + ": no weight_map, expected {\"weight_map\": {tensor: file}}");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string(), where + ": weight_map: " + tensor + ": " +
                                  brief(file) + ", expected a file name");
    const auto name = file.get<std::string>();
    require(!name.empty() && name != "." && name != ".." &&
                name.find('/') == std::string::npos &&
                name.find('\0') == std::string::npos,
            where + ": weight_map: " + tensor + ": " + brief(file) +
                ", expected the name of a file in this folder");
    files[tensor] = name;
  }
  return files;
}

}  // namespace timepipe
