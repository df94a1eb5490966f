// Parses JSON lines for the text of one field.

#include "launcher/data/jsonl.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/error.h"
#include "runtime/file_kind.h"

namespace timepipe {
namespace {

using nlohmann::json;
using Text = std::string_view;

// Of a line's or the parser's text only what is printable.
std::string printable(Text text, std::size_t most_bytes) {
  std::string shown(text.substr(0, most_bytes));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return shown;
}

// What the parser says, without its preface.
std::string reason(Text message) {
  constexpr std::size_t kMostBytes = 160;
  for (const Text preface : {"invalid string: ", "syntax error"}) {
    const std::size_t begin = message.find(preface);
    if (begin == Text::npos) continue;
    message.remove_prefix(begin);
    break;
  }
  return printable(message, kMostBytes);
}

// Reads a line from left to right, once, without recursion. Converts the text
// of one field of the object and nothing else. Throws InvalidArgument
// ("column N: what").
class LineReader {
 public:
  LineReader(Text line, const std::string& field)
      : line_(line), field_(field) {}

  std::string document() {
    skip_spaces();
    if (peek() != '{') {
      skip_value();  // a broken one is no JSON
      fail(0, kind_of(line_[line_.find_first_not_of(kSpaces)]) +
                  ", expected a JSON object");
    }
    ++at_;
    if (!take('}')) {
      do take_field();
      while (take(','));
      expect('}');
    }
    skip_spaces();
    if (at_ < line_.size()) not_json("expected the line's end");
    if (!found_) throw InvalidArgument("no " + named() + other_fields_);
    return std::move(text_);
  }

 private:
  static constexpr Text kSpaces = " \t\r";

  std::string named() const { return "field '" + field_ + "'"; }
  [[noreturn]] static void fail(std::size_t at, const std::string& what) {
    throw InvalidArgument("column " + std::to_string(at + 1) + ": " + what);
  }
  [[noreturn]] void not_json(const std::string& what) const {
    fail(at_, "not JSON: " + what +
                  (at_ == line_.size()  ? ", but the line ends"
                   : line_[at_] == '\0' ? ", but there is a NUL"
                                        : ""));
  }
  static std::string kind_of(char first) {
    if (first == '"') return "a text";
    if (first == '[') return "an array";
    if (first == '{') return "an object";
    if (first == 't' || first == 'f') return "a boolean";
    return first == 'n' ? "null" : "a number";
  }

  char peek() const { return at_ < line_.size() ? line_[at_] : '\0'; }
  void skip_spaces() {
    at_ = std::min(line_.find_first_not_of(kSpaces, at_), line_.size());
  }
  bool take(char c) {
    skip_spaces();
    if (peek() != c || at_ == line_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) not_json(std::string("expected '") + c + "'");
  }

  void take_field() {
    skip_spaces();
    const std::size_t begin = at_;
    const Text key = string_token("a name in quotes");
    expect(':');
    skip_spaces();
    if (!is_field(key)) {
      remember(key);
      return skip_value();
    }
    if (found_) fail(begin, named() + " twice, expected it once");
    found_ = true;
    const std::size_t value = at_;
    if (peek() != '"') {
      skip_value();  // a broken one is no JSON
      fail(value, named() + ": " + kind_of(line_[value]) + ", expected a text");
    }
    text_ = converted(string_token("a text"), value);
  }

  bool is_field(Text key) const {
    if (key.find('\\') == Text::npos) {
      return key.substr(1, key.size() - 2) == field_;
    }
    const json name = json::parse(key.begin(), key.end(), nullptr, false);
    return name.is_string() && name.get_ref<const std::string&>() == field_;
  }

  void remember(Text key) {
    constexpr std::size_t kMostFields = 8, kMostBytes = 32;
    if (num_fields_++ < kMostFields) {
      other_fields_ += (num_fields_ == 1 ? ", but '" : ", '") +
                       printable(key.substr(1, key.size() - 2), kMostBytes) +
                       "'";
    } else if (num_fields_ == kMostFields + 1) {
      other_fields_ += ", ...";
    }
  }

  std::string converted(Text token, std::size_t begin) const {
    try {
      return json::parse(token.begin(), token.end()).get<std::string>();
    } catch (const json::parse_error& error) {
      fail(begin + std::max<std::size_t>(error.byte, 1) - 1,
           named() + ": " + reason(error.what()));
    }
  }

  // A string with its quotes.
  Text string_token(const std::string& expected) {
    const std::size_t begin = at_;
    if (peek() != '"') not_json("expected " + expected);
    for (++at_; at_ < line_.size(); ++at_) {
      const auto c = static_cast<unsigned char>(line_[at_]);
      if (c == '"') return line_.substr(begin, ++at_ - begin);
      if (c < ' ') not_json("a control character in a text");
      if (c == '\\') skip_escape();
    }
    not_json("expected '\"'");
  }

  // Leaves its last byte to be passed over.
  void skip_escape() {
    ++at_;
    if (peek() != 'u') {
      if (Text("\"\\/bfnrt").find(peek()) == Text::npos ||
          at_ == line_.size()) {
        not_json("an unknown escape in a text");
      }
      return;
    }
    for (int digit = 0; digit < 4; ++digit) {
      ++at_;
      if (Text("0123456789abcdefABCDEF").find(peek()) == Text::npos ||
          at_ == line_.size()) {
        not_json("expected four hexadecimal digits after \\u");
      }
    }
  }

  bool take_digits() {
    const std::size_t begin = at_;
    while ('0' <= peek() && peek() <= '9') ++at_;
    return at_ > begin;
  }

  void skip_number() {
    if (peek() == '-') ++at_;
    if (take_word("Infinity")) return;
    const bool zero = peek() == '0';
    if (zero) ++at_;  // no other digit after it
    if (!zero && !take_digits()) not_json("expected a value");
    if (peek() == '.') {
      ++at_;
      if (!take_digits()) not_json("expected a digit");
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!take_digits()) not_json("expected a digit");
    }
  }

  bool take_word(Text word) {
    if (!line_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  void skip_scalar() {
    if (peek() == '"') {
      string_token("a value");
    } else if (!take_word("true") && !take_word("false") &&
               !take_word("null") && !take_word("NaN")) {
      skip_number();
    }
  }

  void skip_key() {
    skip_spaces();
    string_token("a name in quotes");
    expect(':');
  }

  // Objects and arrays that aren't closed yet are kept, not recursed into.
  void skip_value() {
    std::string open;  // their closing brackets
    do {
      skip_spaces();
      const char c = peek();
      if (c == '{' || c == '[') {
        ++at_;
        open += c == '{' ? '}' : ']';
        if (!take(open.back())) {
          if (c == '{') skip_key();
          continue;
        }
        open.pop_back();
      } else {
        skip_scalar();
      }
      while (!open.empty()) {
        if (take(',')) {
          if (open.back() == '}') skip_key();
          break;
        }
        expect(open.back());
        open.pop_back();
      }
    } while (!open.empty());
  }

  Text line_;
  const std::string& field_;
  std::size_t at_ = 0;  // byte of the line
  bool found_ = false;
  std::string text_;
  std::string other_fields_;  // ", but 'a', 'b'"
  std::size_t num_fields_ = 0;
};

}  // namespace

LinesEnd find_lines_end(const FileBytes& text, int64_t begin,
                        int64_t least_bytes, int64_t window_bytes) {
  LinesEnd block = {.end = begin};
  while (block.end < text.size()) {
    const std::string window = text.read_text(
        block.end, std::min(window_bytes, text.size() - block.end));
    const auto least = static_cast<std::size_t>(
        std::max(begin + least_bytes - block.end, int64_t{0}));
    const std::size_t found = window.find('\n', least);
    const bool ends = found != std::string::npos;
    const auto count = static_cast<int64_t>(ends ? found + 1 : window.size());
    block.line_feeds +=
        std::count(window.begin(), window.begin() + count, '\n');
    block.end += count;
    if (ends) break;
  }
  return block;
}

std::vector<std::byte> read_lines(const FileBytes& text, int64_t begin,
                                  int64_t end, int64_t least_bytes) {
  // The last line begins within least_bytes: this is more than it may have.
  return text.read(begin,
                   std::min(end - begin, least_bytes + kMostLineBytes + 1));
}

void parse_jsonl(
    ConstBytes bytes, const std::string& where, const std::string& field,
    const std::function<void(std::string_view text)>& document,
    int64_t first_line,
    const std::function<void(const std::string& mistake)>& bad_line) {
  Text rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (int64_t number = first_line; !rest.empty(); ++number) {
    const Text line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const bool too_long = line.size() > std::size_t{kMostLineBytes};
    // Marks come from files that were joined.
    const Text object = line.substr(bom_bytes(line));
    if (!too_long && object.find_first_not_of(" \t\r") == Text::npos) continue;
    std::string text;
    try {
      require(!too_long, "more bytes than a line may have, ", kMostLineBytes);
      text = LineReader(object, field).document();
    } catch (const InvalidArgument& mistake) {
      bad_line(where + ": line " + std::to_string(number) + ": " +
               mistake.what());
      continue;
    }
    document(text);
  }
}

}  // namespace timepipe
