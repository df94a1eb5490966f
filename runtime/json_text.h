#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

namespace timepipe {

// A JSON value in an error. Of what nests twice only the kind: printing it
// recurses, and a hostile file may nest deeper than the stack.
inline std::string brief(const nlohmann::json& value) {
  const bool nests = value.is_structured() &&
                     std::any_of(value.begin(), value.end(), [](const auto& x) {
                       return x.is_structured();
                     });
  return nests ? value.type_name() : value.dump().substr(0, 80);
}

}  // namespace timepipe
