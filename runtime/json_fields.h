#pragma once

// Fields of JSON objects that others wrote, each checked, with errors that say
// where: "manifest.json: piece 3: count: -1, expected 1 to 5".

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "runtime/error.h"

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

// A view of an object that outlives it. Every reader throws InvalidArgument
// unless the field is there and of its type.
class JsonFields {
 public:
  using json = nlohmann::json;

  // Throws InvalidArgument unless value is an object.
  JsonFields(const json& value, std::string where)
      : value_(value), where_(std::move(where)) {
    require(value_.is_object(), where_, ": not a JSON object");
  }

  bool has(const char* name) const { return value_.contains(name); }

  const json& get(const char* name) const {
    require(has(name), where_, ": no ", name);
    return value_[name];
  }

  int64_t integer(const char* name) const {
    const json& field = get(name);
    const bool too_large =
        field.is_number_unsigned() && field.get<uint64_t>() > uint64_t{kMost};
    expect(field.is_number_integer() && !too_large, name, "an integer");
    return field.get<int64_t>();
  }

  int64_t integer(const char* name, int64_t least, int64_t most = kMost) const {
    const json& field = get(name);
    const bool fits =
        field.is_number_unsigned() && field.get<uint64_t>() <= uint64_t{kMost};
    const int64_t number = fits ? field.get<int64_t>() : -1;
    expect(fits && number >= least && number <= most, name,
           std::to_string(least) + " to " + std::to_string(most));
    return number;
  }

  double number(const char* name) const {
    expect(get(name).is_number(), name, "a number");
    return get(name).get<double>();
  }

  bool boolean(const char* name) const {
    expect(get(name).is_boolean(), name, "true or false");
    return get(name).get<bool>();
  }

  std::string text(const char* name) const {
    expect(get(name).is_string(), name, "a text");
    return get(name).get<std::string>();
  }

  uint64_t hash(const char* name) const {
    const std::string digits = text(name);
    uint64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto result = std::from_chars(digits.data(), end, value, 16);
    expect(digits.size() == 16 && result.ec == std::errc() && result.ptr == end,
           name, "16 hexadecimal digits");
    return value;
  }

  const json& array(const char* name) const {
    expect(get(name).is_array(), name, "an array");
    return get(name);
  }

  // Throws InvalidArgument about a field of this object unless `condition`.
  void expect(bool condition, const std::string& name,
              const std::string& expected) const {
    if (condition) return;
    throw InvalidArgument(where_ + ": " + name + ": " + brief(value_[name]) +
                          ", expected " + expected);
  }

  const json& object() const { return value_; }
  const std::string& where() const { return where_; }

 private:
  static constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

  const json& value_;
  std::string where_;
};

}  // namespace timepipe
