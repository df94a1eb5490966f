#include "launcher/data/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/error.h"

namespace timepipe {
namespace {

using nlohmann::json;

// What the parser says, as a part of one line: without its preface, and of the
// file's text only what is printable.
std::string reason(std::string_view message) {
  constexpr std::size_t kMostBytes = 160;
  const std::size_t begin = message.find("syntax error");
  if (begin != std::string_view::npos) message.remove_prefix(begin);
  std::string text(message.substr(0, kMostBytes));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

// Takes the text of one field of the outermost object and keeps nothing else,
// however deep it nests: the parser calls, it doesn't recurse.
class FieldReader {
 public:
  explicit FieldReader(const std::string& field) : field_(field) {}

  std::string text;
  std::string mistake;  // the first one, "" if none

  bool null() { return scalar("null"); }
  bool boolean(bool) { return scalar("a boolean"); }
  bool number_integer(json::number_integer_t) { return scalar("a number"); }
  bool number_unsigned(json::number_unsigned_t) { return scalar("a number"); }
  bool number_float(json::number_float_t, const std::string&) {
    return scalar("a number");
  }
  bool binary(json::binary_t&) { return scalar("binary"); }
  bool string(std::string& value) {
    if (depth_ == 0) return scalar("a text");
    if (!std::exchange(here_, false)) return true;
    if (found_) return fail(named() + " twice, expected it once");
    found_ = true;
    text = std::move(value);
    return true;
  }
  bool key(std::string& name) {
    here_ = depth_ == 1 && name == field_;
    return true;
  }
  bool start_object(std::size_t) {
    if (here_) return scalar("an object");
    ++depth_;
    return true;
  }
  bool start_array(std::size_t) {
    if (here_ || depth_ == 0) return scalar("an array");
    ++depth_;
    return true;
  }
  bool end_object() {
    --depth_;
    return depth_ > 0 || found_ || fail("no " + named());
  }
  bool end_array() {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const json::exception& error) {
    return fail("byte " + std::to_string(position) +
                ": not JSON: " + reason(error.what()));
  }

 private:
  std::string named() const { return "field '" + field_ + "'"; }
  // A value that is no text, of any place.
  bool scalar(const std::string& kind) {
    if (depth_ == 0) return fail(kind + ", expected a JSON object");
    if (!here_) return true;
    return fail(named() + ": " + kind + ", expected a text");
  }
  bool fail(const std::string& what) {
    if (mistake.empty()) mistake = what;
    return false;
  }

  const std::string& field_;
  int64_t depth_ = 0;
  bool here_ = false;  // the next value is the field's
  bool found_ = false;
};

}  // namespace

void parse_jsonl(ConstBytes bytes, const std::string& where,
                 const std::string& field,
                 const std::function<void(std::string_view text)>& document,
                 int64_t first_line) {
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()),
                        bytes.size());
  for (int64_t number = first_line; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string at = where + ": line " + std::to_string(number) + ": ";
    require(line.size() <= std::size_t{kMostLineBytes},
            at + std::to_string(line.size()) + " bytes, expected at most " +
                std::to_string(kMostLineBytes));
    FieldReader reader(field);
    const bool ok = json::sax_parse(line.begin(), line.end(), &reader);
    require(ok && reader.mistake.empty(), at + reader.mistake);
    document(reader.text);
  }
}

}  // namespace timepipe
