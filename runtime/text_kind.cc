// Tells texts and JSON lines from what only looks like them.

#include "runtime/text_kind.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "runtime/file_marks.h"

namespace timepipe {
namespace {

using Text = std::string_view;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Text trimmed(Text text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x07 || (0x0e <= byte && byte < 0x20 && byte != 0x1b);
}

FileContents in_encoding(const char* name) {
  return other_kind("a text in " + std::string(name),
                    "iconv -f " + std::string(name) + " -t UTF-8");
}

// Without a byte order mark: letters with NULs at the same places of every 4
// bytes.
std::optional<FileContents> wide_by_nuls(Text bytes) {
  constexpr std::size_t kMostBytes = 4096, kLeastBytes = 16;
  const Text look = bytes.substr(0, std::min(kMostBytes, bytes.size() / 4 * 4));
  if (look.size() < kLeastBytes) return std::nullopt;
  std::array<std::size_t, 4> nuls = {};
  std::string letters;
  for (std::size_t i = 0; i < look.size(); ++i) {
    if (look[i] == '\0') {
      ++nuls[i % 4];
    } else {
      letters += look[i];
    }
  }
  if (letters.empty() || has_control(letters)) return std::nullopt;
  std::string zeros;  // of 4 places: 1 where most bytes are NUL, 0 where few
  for (const std::size_t n : nuls) {
    const std::size_t quarter = look.size() / 4 / 4;
    zeros += n > 3 * quarter ? '1' : n < quarter ? '0' : '?';
  }
  if (zeros == "0111") return in_encoding("UTF-32LE");
  if (zeros == "1110") return in_encoding("UTF-32BE");
  if (zeros == "0101") return in_encoding("UTF-16LE");
  if (zeros == "1010") return in_encoding("UTF-16BE");
  return std::nullopt;
}

// Lines "BASE64 RANK", ranks from 0.
bool is_tiktoken(Text text) {
  for (const Text rank : {" 0", " 1"}) {
    const Text line = trimmed(text.substr(0, text.find('\n')));
    if (!line.ends_with(rank) || line.find(' ') != line.size() - rank.size() ||
        line.size() <= rank.size()) {
      return false;
    }
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return true;
}

// Bytes of the JSON object at the start of the text; npos if it doesn't end
// there. Only quotes and brackets are looked at.
std::size_t json_bytes(Text text) {
  int64_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
      continue;
    }
    quoted = c == '"';
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return i + 1;
  }
  return Text::npos;
}

enum class Json { kNone, kLines, kDocument };

// named: the name promises JSON; then what isn't a document is lines, whose
// reader names the bad one.
Json json_form(Text text, bool named, bool whole) {
  const Json unless_named = named ? Json::kLines : Json::kNone;
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  if (text.starts_with('[') && named) return Json::kDocument;
  if (!text.starts_with('{')) return unless_named;
  const std::size_t second = text.find_first_not_of(" \t\r\n", 1);
  if (second == Text::npos || (text[second] != '"' && text[second] != '}')) {
    return unless_named;
  }
  const Text line = text.substr(0, text.find('\n'));
  const std::size_t size = json_bytes(text);
  if (size <= line.size()) {
    return trimmed(line.substr(size)).empty() ? Json::kLines : unless_named;
  }
  if (size != Text::npos) {
    const bool alone = whole && trimmed(text.substr(size)).empty();
    return named || alone ? Json::kDocument : Json::kNone;
  }
  if (!whole && line.size() == text.size()) return Json::kLines;  // a long one
  const Text end = trimmed(line);
  const bool goes_on =
      end.ends_with('{') || end.ends_with('[') || end.ends_with(',');
  return named && goes_on ? Json::kDocument : unless_named;
}

// JSON lines, some of which have NULs, as the loss of power leaves them in
// files that are being written: objects alone on their lines are beside those,
// or nothing else is and the name promises JSON. The lines' reader names the
// bad ones.
bool is_torn_json_lines(Text text, bool named, bool whole) {
  std::string letters(text);
  std::erase(letters, '\0');
  if (letters.empty()) return named;
  if (has_control(letters)) return false;
  while (!text.empty()) {
    const std::size_t nul = std::min(text.find('\0'), text.size());
    const std::size_t line = text.substr(0, nul).rfind('\n') + 1;
    const Text clean = text.substr(0, nul == text.size() ? nul : line);
    if (json_form(clean, false, whole) == Json::kLines) return true;
    const std::size_t end = std::min(text.find('\n', nul), text.size() - 1);
    text.remove_prefix(end + 1);
  }
  return false;
}

FileContents json_document(Text text) {
  const bool array = trimmed(text).starts_with('[');
  FileContents document =
      array ? other_kind("a JSON array", "jq -c '.[]'")
            : other_kind("a JSON object over several lines", "jq -c .");
  document.kind = FileKind::kJson;
  document.has_field = true;
  return document;
}

}  // namespace

bool has_control(Text text) { return std::ranges::any_of(text, is_control); }

std::string lower_case(Text text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](char c) {
    return 'A' <= c && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  });
  return result;
}

std::string beginning(Text text) {
  constexpr std::size_t kMostBytes = 30;
  std::string shown(text.substr(0, kMostBytes));
  std::ranges::replace_if(
      shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return "begins with '" + shown + "'";
}

FileContents other_kind(std::string what, std::string unpack,
                        std::string advice) {
  FileContents contents;
  contents.kind = FileKind::kOther;
  contents.what = std::move(what);
  contents.unpack = std::move(unpack);
  contents.advice = std::move(advice);
  return contents;
}

bool has_json_name(Text name) {
  const std::string lower = lower_case(name);
  return std::ranges::any_of(kJsonEnds,
                             [&](Text end) { return lower.ends_with(end); });
}

std::optional<FileContents> wide_text(Text bytes) {
  if (bytes.starts_with(Text("\xff\xfe\0\0", 4)) ||
      bytes.starts_with(Text("\0\0\xfe\xff", 4))) {
    return in_encoding("UTF-32");
  }
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) {
    return in_encoding("UTF-16");
  }
  if (bytes.starts_with("\x84\x31\x95\x33")) return in_encoding("GB18030");
  return wide_by_nuls(bytes);
}

std::optional<FileContents> error_page(Text text, Text name, bool whole) {
  constexpr std::size_t kMostBytes = 1024;
  const std::string shown = beginning(trimmed(text));
  const std::string start = lower_case(trimmed(text.substr(0, kMostBytes)));
  Text at = start;
  if (at.starts_with("<?xml")) {
    at = trimmed(at.substr(std::min(at.find('>'), at.size() - 1) + 1));
  }
  const bool may_be_html = std::ranges::none_of(
      kHtmlEnds, [&](Text end) { return name.ends_with(end); });
  for (const Text tag : {"<!doctype html", "<html", "<head>", "<body"}) {
    if (!may_be_html || !at.starts_with(tag)) continue;
    return other_kind(std::string("an HTML page (") + shown + ")", "",
                      "if it came in place of a file, fetch that again");
  }
  const Text all = whole ? trimmed(text) : Text();
  const bool is_answer =
      at.starts_with("<error>") ||
      std::ranges::find(kErrorTexts, all) != std::end(kErrorTexts) ||
      std::ranges::any_of(kErrorStarts,
                          [&](Text begin) { return text.starts_with(begin); });
  if (!is_answer) return std::nullopt;
  return other_kind(
      std::string("a server's answer, not the file (") + shown + ")", "",
      kFetch);
}

FileContents text_contents(Text text, Text name, bool whole) {
  FileContents contents;
  const bool named = has_json_name(name);
  const std::size_t nul = text.find('\0');
  const bool torn = nul != Text::npos && is_torn_json_lines(text, named, whole);
  if (nul != Text::npos && !torn) {
    contents.kind = FileKind::kBinary;
    contents.what =
        "binary data, not a text (byte " + std::to_string(nul) + " is 0)";
    return contents;
  }
  if (is_tiktoken(text)) {
    return other_kind("a vocabulary of tiktoken", "",
                      "tokenizers here are models of sentencepiece");
  }
  const Json form = torn ? Json::kLines : json_form(text, named, whole);
  if (form == Json::kDocument) return json_document(text);
  contents.kind = form == Json::kLines ? FileKind::kJsonLines : FileKind::kText;
  contents.what = form == Json::kLines ? "JSON lines" : "a text";
  if (form == Json::kLines) {
    contents.advice =
        "timepipe data prepare FILE --field text --out FILE.safetensors";
  }
  return contents;
}

}  // namespace timepipe
